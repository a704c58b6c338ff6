# SPDX-License-Identifier: MIT
"""Loader of proto/vectors (format: proto/vectors/README.md)."""

import os
import re

GOLDEN = ("session.txt", "publish.txt", "subscribe.txt", "delivery.txt",
          "streams.txt", "report.txt", "unknown.txt")
REFUSED = ("refuse-header.txt", "refuse-body.txt")

WORD = re.compile(r'(?:"[^"]*"|[^"\s])+')
PART = re.compile(r'(?:"([^"]*)"|([0-9a-f]*))(?:\*(\d+))?(,|$)')


def read_lines(path):
    """(line number, words) of each line that is not empty."""
    with open(path, encoding="ascii") as file:
        for number, line in enumerate(file, 1):
            words = []
            for word in WORD.findall(line):
                if word.startswith("#"):
                    break
                words.append(word)
            if words:
                yield number, words


def read_bytes(words):
    """The byte string that words stand for."""
    out = b""
    for word in words:
        at = 0
        while at < len(word):
            part = PART.match(word, at)
            if part is None:
                raise ValueError("not a byte string: " + word)
            text, digits, times, _ = part.groups()
            data = bytes.fromhex(digits) if text is None else text.encode()
            out += data * int(times or 1)
            at = part.end()
    return out


class Record:
    """One `frame` or `refuse`: its name, its bytes and its other lines."""

    def __init__(self, path, number, kind, name):
        self.where = "%s:%d: %s" % (path, number, name)
        self.kind, self.name, self.data, self.lines = kind, name, b"", []

    def get(self, key, default=None):
        """The words of the first line with this key."""
        return next((words[1:] for words in self.lines if words[0] == key),
                    default)


def read_records(directory, names):
    """All records of the files named."""
    records = []
    for name in names:
        path = os.path.join(directory, name)
        for number, words in read_lines(path):
            if words[0] in ("frame", "refuse"):
                records.append(Record(path, number, words[0], words[1]))
            elif words[0] == "hex":
                records[-1].data += read_bytes(words[1:])
            else:
                records[-1].lines.append(words)
    return records
