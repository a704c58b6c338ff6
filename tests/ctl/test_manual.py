# SPDX-License-Identifier: MIT
"""The manual page, --help and the tables in the program say the same."""
import os
import re
import unittest

import harness

MANUAL = os.environ["BROKERCTL_MANUAL"]
COMMANDS = ["pub", "sub", "req", "reply", "ping", "stats", "stream",
            "consumer", "store", "bench", "passwd", "explain", "help"]


def plain(text):
    return text.replace("\\-", "-").replace("\\&", "")


class Manual(harness.CtlTest):
    @classmethod
    def setUpClass(cls):
        with open(MANUAL, encoding="utf-8") as file:
            cls.text = plain(file.read())
        cls.sections = dict(re.findall(
            r"^\.S[hs] (.+?)\n(.*?)(?=^\.S[hs] |\Z)", cls.text,
            re.MULTILINE | re.DOTALL))

    def manual_options(self, section):
        """{(letter, name, takes a value)} of the tagged list of a section."""
        found = set()
        for line in re.findall(r"^\.It (Fl .*)$", self.sections[section],
                               re.MULTILINE):
            letter = re.search(r"Fl (\w)\b", line)
            name = re.search(r"Fl -([\w-]+)", line)
            found.add((letter.group(1) if letter else None,
                       name.group(1), " Ar " in line))
        return found

    def help_options(self, *arguments):
        text = self.expect(harness.OK, *arguments).out.decode()
        return {(m.group(1), m.group(2), m.group(3) is not None)
                for m in re.finditer(
                    r"^  (?:-(\w), |    )--([\w-]+)(?: ([A-Z][A-Z=.]*))?",
                    text, re.MULTILINE)}

    def test_options(self):
        common = self.help_options("help")
        self.assertEqual(self.manual_options("DESCRIPTION"), common)
        self.assertEqual(len(common), 11)
        for command in COMMANDS[:-1]:
            with self.subTest(command=command):
                own = self.help_options("help", command) - common
                self.assertTrue(own)
                self.assertEqual(self.manual_options(command), own)

    def test_every_command(self):
        listed = re.findall(r"^  (\w+) +\w", self.expect(
            harness.OK, "--help").out.decode().split("Options of")[0],
            re.MULTILINE)
        self.assertEqual(listed, COMMANDS)
        for command in COMMANDS:
            self.assertIn(command, self.sections)
            self.assertRegex(self.sections["SYNOPSIS"],
                             r"\.Cm %s\b" % command)

    def test_exit_codes(self):
        manual = re.findall(r"^\.It (\d+)\n(.+)$",
                            self.sections["EXIT STATUS"], re.MULTILINE)
        program = re.findall(r"^ +(\d+)  (.+)$", self.expect(
            harness.OK, "help", "exit-codes").out.decode(), re.MULTILINE)
        self.assertEqual(manual, program)
        self.assertEqual(
            [int(code) for code, _ in program],
            [harness.OK, harness.FAILED, harness.GAP, harness.TIMEOUT,
             harness.NO_SUBSCRIBERS, harness.QUEUE_REFUSED, harness.COMMAND,
             harness.UNBALANCED, harness.UNACCOUNTED, harness.USAGE,
             harness.DATA, harness.NO_INPUT, harness.UNAVAILABLE,
             harness.OUTPUT, harness.NO_PERMISSION])

    def test_format_letters(self):
        manual = re.findall(r"^\.It Li %(.)\n", self.sections["FORMATS"],
                            re.MULTILINE)
        program = re.findall(r"^  %(.)  ", self.expect(
            harness.OK, "help", "sub").out.decode(), re.MULTILINE)
        self.assertEqual(set(manual) - {"{"}, set(program) - {"{"})
        self.assertGreater(len(program), 10)

    def test_help_is_the_same_everywhere(self):
        self.assertEqual(self.expect(harness.OK, "--help").out,
                         self.expect(harness.OK, "help").out)
        for command in COMMANDS:
            with self.subTest(command=command):
                text = self.expect(harness.OK, "help", command).out
                for way in (["--help", command], [command, "--help"],
                            [command, "-h", "too", "many", "arguments"]):
                    self.assertEqual(self.expect(harness.OK, *way).out, text)
                self.assertTrue(all(len(line) <= 80
                                    for line in text.splitlines()), text)


if __name__ == "__main__":
    unittest.main()
