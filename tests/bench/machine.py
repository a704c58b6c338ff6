# SPDX-License-Identifier: MIT
"""What a reader has to know of the machine and the tree that was measured."""
import os
import platform
import subprocess
from pathlib import Path


def first_value(path, key):
    """The value of the first `key: value` or `key=value` line, or None."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    for line in lines:
        name, separator, value = line.partition(":" if ":" in line else "=")
        if separator and name.strip() == key:
            return value.strip().strip('"')
    return None


def describe():
    flags = first_value("/proc/cpuinfo", "flags") or ""
    return {
        "cpu": first_value("/proc/cpuinfo", "model name") or
        platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "virtual": "hypervisor" in flags.split(),
        "memory": first_value("/proc/meminfo", "MemTotal"),
        "kernel": f"{platform.system()} {platform.release()} "
                  f"{platform.machine()}",
        "system": first_value("/etc/os-release", "PRETTY_NAME"),
    }


def load_average():
    return round(os.getloadavg()[0], 2)


def tree(root):
    """The commit, with a + if there are changes that are not committed."""
    def git(*arguments):
        return subprocess.run(["git", "-C", str(root), *arguments],
                              capture_output=True, text=True, timeout=60,
                              check=True).stdout.strip()
    try:
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "--short=12", "HEAD") + ("+" if changed else
                                                         "")
    except (OSError, subprocess.SubprocessError):
        return "unknown"
