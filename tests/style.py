#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What clang-format does not check: the style rules that a script can.

    tests/style.py [--fix] [FILE]...

Without files, every file that git knows. --fix shortens the lines that divide
sections (/* ---- name ---- */); the rest is for people. Rules, as in
CONTRIBUTING.md: a licence line first, functions of at most 70 lines, files of
at most 700, 80 columns, no tabs or blanks at the end of a line, a guard in
every header.
"""
import re
import subprocess
import sys
from pathlib import Path

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 700
COLUMNS_MAX = 80
C_FILES = {".c", ".h"}


def functions(lines):
    """(name, first line, lines of body) of each function. clang-format puts
    the braces of a function, and only those, alone in the first column."""
    start = None
    for number, line in enumerate(lines, 1):
        if line == "{":
            start = number
        elif line == "}" and start is not None:
            yield function_name(lines, start), start, number - start - 1
            start = None


def function_name(lines, brace):
    """The name in the definition above the brace: `name(...` in column 0."""
    for line in reversed(lines[max(0, brace - 20):brace - 1]):
        match = re.match(r"(\w+)\(", line)
        if match:
            return match.group(1)
    return "?"


def check_c(path, lines):
    for name, number, length in functions(lines):
        if length > FUNCTION_LINES_MAX:
            yield number, f"{name}() has {length} lines, at most " \
                          f"{FUNCTION_LINES_MAX} are allowed"
    if path.suffix == ".h":
        guard = [line for line in lines if line.startswith("#ifndef BROKER")]
        if not guard:
            yield 1, "no guard of the form BROKER_MODULE_H"


def check_text(path, lines):
    head = lines[:2] if lines and lines[0].startswith("#!") else lines[:1]
    if not any("SPDX-License-Identifier: MIT" in line for line in head):
        yield 1, "the first line is not the SPDX line"
    if len(lines) > FILE_LINES_MAX:
        yield len(lines), f"{len(lines)} lines, at most {FILE_LINES_MAX} " \
                          "are allowed: split it"
    for number, line in enumerate(lines, 1):
        if len(line) > COLUMNS_MAX:
            yield number, f"{len(line)} columns"
        if "\t" in line or line != line.rstrip():
            yield number, "a tab, or blanks at the end"


def is_script(path):
    if path.suffix in (".py", ".sh"):
        return True
    return path.suffix == "" and path.read_bytes()[:2] == b"#!"


def check(path):
    if path.suffix not in C_FILES and not is_script(path):
        return
    lines = path.read_text(encoding="utf-8").splitlines()
    yield from check_text(path, lines)
    if path.suffix in C_FILES:
        yield from check_c(path, lines)


def fix(path):
    """Dashes at the end of a section's line, as many as fit."""
    if path.suffix not in C_FILES:
        return
    text = path.read_text(encoding="utf-8")
    fixed = re.sub(r"^(/\* ---- .*?) -+ \*/$",
                   lambda m: m.group(1) + " " +
                   "-" * (COLUMNS_MAX - len(m.group(1)) - 4) + " */",
                   text, flags=re.M)
    if fixed != text:
        path.write_text(fixed, encoding="utf-8")


def tracked():
    root = Path(__file__).resolve().parent.parent
    names = subprocess.run(["git", "-C", str(root), "ls-files", "-z"],
                           check=True, capture_output=True, text=True).stdout
    return [root / name for name in names.split("\0") if name]


def main():
    names = [name for name in sys.argv[1:] if name != "--fix"]
    paths = [Path(name) for name in names] or tracked()
    count = 0
    for path in paths:
        if not path.is_file():
            continue
        if "--fix" in sys.argv[1:]:
            fix(path)
        for number, problem in check(path):
            print(f"{path}:{number}: {problem}")
            count += 1
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
