#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Many small inputs as one file, for the repository.

usage: pack.py pack FOLDER FILE
       pack.py unpack FILE FOLDER

FILE is a sequence of u32 (network byte order) length and so many bytes,
sorted, so that the same inputs give the same file. replay.c reads it too.
"""
import hashlib
import os
import struct
import sys


def pack(folder, path):
    inputs = set()
    for name in os.listdir(folder):
        with open(os.path.join(folder, name), "rb") as file:
            inputs.add(file.read())
    with open(path, "wb") as file:
        for data in sorted(inputs):
            file.write(struct.pack(">I", len(data)) + data)
    print("  %d inputs, %d bytes" % (len(inputs), os.path.getsize(path)))


def unpack(path, folder):
    os.makedirs(folder, exist_ok=True)
    with open(path, "rb") as file:
        packed = file.read()
    at = 0
    while at < len(packed):
        (size,) = struct.unpack_from(">I", packed, at)
        data = packed[at + 4:at + 4 + size]
        at += 4 + size
        name = hashlib.sha1(data).hexdigest()  # as libFuzzer names them
        with open(os.path.join(folder, name), "wb") as file:
            file.write(data)


if __name__ == "__main__":
    {"pack": pack, "unpack": unpack}[sys.argv[1]](*sys.argv[2:4])
