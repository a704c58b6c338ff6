# SPDX-License-Identifier: MIT
"""The programs that are compared: how each is found, started and stopped.

Each runs with its default settings, on 127.0.0.1 and a free port, on one core,
in a temporary folder, and never longer than one cell.
"""
import ctypes
import os
import re
import resource
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

READY_S = 30
STOP_S = 15
PR_SET_PDEATHSIG = 1
# Debian keeps daemons where users' PATH does not look.
PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin"


class Failed(Exception):
    """A program could not be started, or a measurement went wrong."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def child_setup(cores):
    """For preexec_fn: the core, many files, and an end with its parent."""
    libc = ctypes.CDLL(None)

    def setup():
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        if cores:
            os.sched_setaffinity(0, cores)
    return setup


class Candidate:
    """One program. `command` and `wait_ready` are what differs."""
    name = ""
    protocol = ""
    package = ""    # of Debian; "" for what is built here
    program = ""
    is_peer = True

    def __init__(self, programs):
        self.programs = programs

    def path(self):
        return shutil.which(self.program, path=PATH)

    def version(self):
        out = subprocess.run([self.path(), *self.version_flags],
                             capture_output=True, text=True, timeout=READY_S,
                             check=False)
        match = re.search(r"\d+\.\d+(\.\d+)*", out.stdout + out.stderr)
        return match.group(0) if match else "unknown"

    version_flags = ("--version",)

    def command(self, port, folder, flags):
        raise NotImplementedError

    def environment(self):
        return dict(os.environ)

    def wait_ready(self, process, port):
        """The port it listens on, once it does."""
        end = time.monotonic() + READY_S
        while time.monotonic() < end:
            if process.poll() is not None:
                break
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return port
            except OSError:
                time.sleep(0.01)
        raise Failed(f"{self.name} did not start")

    def start(self, folder, cores, flags=()):
        """(process, port). The caller stops it."""
        port = free_port()
        with open(Path(folder) / f"{self.name}.log", "wb") as log:
            process = subprocess.Popen(
                self.command(port, folder, flags), cwd=folder,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
                if not self.is_peer else log, stderr=log,
                env=self.environment(), preexec_fn=child_setup(cores))
        try:
            return process, self.wait_ready(process, port)
        except BaseException:
            stop(process)
            raise


def stop(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    if process.stdout:
        process.stdout.close()


class Ours(Candidate):
    """Says on standard output where it listens."""
    is_peer = False

    def path(self):
        path = Path(self.programs) / self.program
        return str(path) if path.exists() else None

    def wait_ready(self, process, port):
        line = process.stdout.readline().decode()
        match = re.search(r" ready .*?(\d+)\s*$", line)
        if not match:
            raise Failed(f"{self.name} did not start: {line!r}")
        return int(match.group(1))


class Brokerd(Ours):
    name = protocol = program = "brokerd"

    def has_threads(self):
        """Does this brokerd know worker threads?"""
        said = subprocess.run([self.path(), "--help"], capture_output=True,
                              text=True, timeout=READY_S, check=False)
        return "--threads" in said.stdout

    def command(self, port, folder, flags):
        return [self.path(), "--config", "/dev/null",
                "--listen", "tcp://127.0.0.1:0", *flags]


class Relay(Ours):
    name = protocol = "relay"
    program = "bench_relay"

    def version(self):
        return "of this tree"

    def command(self, port, folder, flags):
        return [self.path()]


class Nats(Candidate):
    name = protocol = "nats"
    package = program = "nats-server"

    def command(self, port, folder, flags):
        return [self.path(), "--addr", "127.0.0.1", "--port", str(port)]

    def environment(self):
        # One core: without this its scheduler plans for all that it sees.
        return dict(os.environ, GOMAXPROCS="1")


class Redis(Candidate):
    name = protocol = "redis"
    package = program = "redis-server"

    def command(self, port, folder, flags):
        return [self.path(), "--bind", "127.0.0.1", "--port", str(port),
                "--dir", str(folder)]


class Mosquitto(Candidate):
    name = package = program = "mosquitto"
    protocol = "mqtt"
    version_flags = ("-h",)

    def command(self, port, folder, flags):
        config = Path(folder) / "mosquitto.conf"
        config.write_text(f"listener {port} 127.0.0.1\n"
                          "allow_anonymous true\n", encoding="ascii")
        return [self.path(), "-c", str(config)]


CANDIDATES = (Brokerd, Relay, Nats, Redis, Mosquitto)
