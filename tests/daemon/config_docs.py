#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Every key of the configuration is documented, with the right default.

    config_docs.py SOURCE_FOLDER

The sample file brokerd.conf is compared with the table of keys by test_config;
here it stands for that table. Compared with it are brokerd.conf(5), which
must have every key in the same order, the limits in README.md, and the flags
in brokerd(8).
"""
import re
import sys
from pathlib import Path

ACTIONS = ["--config", "--check", "--print-effective", "--print-sample",
           "--version", "--help"]


def sample_keys(text):
    """[(key, default, allowed)] in the order of the sample file."""
    pattern = r"^# Allowed: (.*)\.\n#([a-z0-9_]+) = (.*)$"
    return [(key, default, allowed)
            for allowed, key, default in re.findall(pattern, text, re.M)]


def man_keys(text):
    """The same from the manual page; the wording in between is free."""
    pattern = (r'^\.TP\n\.B "([a-z0-9_]+) = (.*)"\n'
               r"(?:(?!\.TP).*\n)*?Allowed: (.*)\.$")
    return re.findall(pattern, text, re.M)


def readme_keys(text):
    """Rows of README's table of limits: | `key` | default | ..."""
    return re.findall(r"^\| `([a-z0-9_]+)` \| ([^|]*?) \|", text, re.M)


def check_readme(keys, text):
    """README's rows are right, and every limit (max_...) has one."""
    problems = []
    defaults = {key: default for key, default, _ in keys}
    rows = readme_keys(text)
    for key, default in rows:
        if defaults.get(key) != default:
            problems.append(f"README.md: {key}: default {default!r}, "
                            f"should be {defaults.get(key)!r}")
    listed = {key for key, _ in rows}
    for key in defaults:
        if key.startswith("max_") and key not in listed:
            problems.append(f"README.md: {key} is missing from the limits")
    return problems


def main():
    source = Path(sys.argv[1])
    doc = source / "broker" / "doc"
    keys = sample_keys((doc / "brokerd.conf").read_text())
    man = man_keys((doc / "brokerd.conf.5").read_text())
    problems = []
    if len(keys) < 20:
        problems.append("brokerd.conf: keys not found; has its form changed?")
    if [row[0] for row in man] != [row[0] for row in keys]:
        problems.append("brokerd.conf.5: keys missing, unknown or in another "
                        f"order: {[k[0] for k in set(man) ^ set(keys)]}")
    for in_man, in_sample in zip(man, keys):
        if in_man != in_sample:
            problems.append(f"brokerd.conf.5: {in_man}, should be {in_sample}")
    problems += check_readme(keys, (source / "README.md").read_text())
    daemon_page = (doc / "brokerd.8").read_text().replace("\\-", "-")
    for flag in ACTIONS:
        if not re.search(re.escape(flag) + r"\b", daemon_page):
            problems.append(f"brokerd.8: {flag} is missing")
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
