#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every header compiles alone, and the public ones as C++ too.

    tests/headers.py BUILD_FOLDER [C_COMPILER [CXX_COMPILER]]

The flags are those with which the build compiles a source beside the header
(compile_commands.json), so that a header may use what its layer may use.
"""
import json
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = ("-I", "-D", "-std=", "-W")


def commands(build):
    """[(source, flags, is_own)] of the build, flags reduced to what matters
    here. is_own: by a target of its own folder, not borrowed by another."""
    result = []
    for entry in json.loads((build / "compile_commands.json").read_text()):
        words = shlex.split(entry["command"])
        flags = [w for w in words[1:] if w.startswith(KEPT)]
        for i, word in enumerate(words):
            if word in ("-I", "-isystem"):
                flags += words[i:i + 2]
        is_own = not any("/__/" in word for word in words)
        result.append((Path(entry["file"]), flags, is_own))
    return result


def flags_for(header, known):
    """The flags of the source that shares the longest path with the header, of
    its own folder if there is one."""
    def shared(source):
        count = 0
        for a, b in zip(header.parts, source.parts):
            if a != b:
                break
            count += 1
        return count
    return max(known, key=lambda entry: (
        shared(entry[0]), entry[0].parent == header.parent, entry[2]))[1]


def compiles(compiler, language, header, flags):
    if language == "c++":
        flags = [f for f in flags if f.startswith(("-I", "-D"))]
    result = subprocess.run(
        [*compiler, "-x", language, "-fsyntax-only", "-Wall", "-Wextra",
         "-Werror", *flags, "-include", str(header), "/dev/null"],
        capture_output=True, text=True)
    if result.returncode != 0:
        print(f"{header}: does not compile alone as {language}")
        print(result.stderr)
    return result.returncode == 0


def main():
    build = Path(sys.argv[1])
    cc = shlex.split(sys.argv[2]) if len(sys.argv) > 2 else ["cc"]
    cxx = shlex.split(sys.argv[3]) if len(sys.argv) > 3 else None
    names = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-z", "*.h"],
        check=True, capture_output=True, text=True).stdout
    headers = [ROOT / name for name in names.split("\0") if name]
    known = commands(build)
    good = True
    for header in headers:
        if not header.is_file():
            continue
        flags = flags_for(header, known)
        good &= compiles(cc, "c", header, flags)
        if cxx and "/include/broker/" in str(header):
            good &= compiles(cxx, "c++", header, flags)
    if not headers:
        print("no headers found")
        good = False
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
