#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The program and the screens in the README do what the README says.

    BROKERD=path/to/brokerd PROGRAM=path/to/readme_program test_readme.py

CMake takes the program's source out of README.md; brokerctl is beside brokerd.
"""
import os
import re
import shlex
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "README.md"
SECONDS = 60


class Program(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="brokerd-")
        self.addCleanup(folder.cleanup)
        self.environment = dict(os.environ, XDG_RUNTIME_DIR=folder.name)

    def run_program(self):
        return subprocess.run([os.environ["PROGRAM"]], capture_output=True,
                              text=True, timeout=60, env=self.environment)

    def test_it_greets(self):
        socket = f"unix://{self.environment['XDG_RUNTIME_DIR']}/brokerd.sock"
        broker = subprocess.Popen(
            [os.environ["BROKERD"], "--config=/dev/null", "--listen", socket],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(broker.communicate)
        self.addCleanup(broker.kill)
        self.assertEqual(broker.stdout.readline(), f"brokerd ready {socket}\n")
        result = self.run_program()
        self.assertEqual(result.stderr, "")
        self.assertEqual(result.stdout, "greetings/world: hello\n")
        self.assertEqual(result.returncode, 0)
        broker.terminate()
        self.assertEqual(broker.wait(60), 0)


class Stream(unittest.TestCase):
    """The screen of the section "Messages that stay", line by line."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="brokerd-")
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.url = f"unix://{self.folder}/s.sock"
        bin_folder = str(Path(os.environ["BROKERD"]).resolve().parent)
        self.environment = dict(
            os.environ, BROKER_URL=self.url,
            PATH=bin_folder + os.pathsep + os.environ["PATH"])
        self.broker = None
        self.addCleanup(self.stop)

    def stop(self):
        if self.broker is not None:
            self.broker.kill()
            self.broker.communicate()
            self.broker = None

    def steps(self):
        """(command, what it prints) in their order."""
        text = README.read_text(encoding="utf-8")
        section = text[text.index("\n## Messages that stay\n"):]
        screen = re.search(r"```\n(\$ .*?)```", section, re.S).group(1)
        for part in re.split(r"^\$ ", screen, flags=re.M)[1:]:
            command, _, said = part.partition("\n")
            yield command, [line for line in said.splitlines() if line]

    def start(self, command):
        words = shlex.split(command.replace("/var/lib/brokerd",
                                            self.folder + "/store"))
        self.assertEqual(words.pop(), "&")
        self.broker = subprocess.Popen(
            words + ["--config=/dev/null", "--listen", self.url],
            env=self.environment, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True)
        self.assertEqual(self.broker.stdout.readline(),
                         f"brokerd ready {self.url}\n")

    def run_client(self, command, wanted):
        """Its first lines are as wanted, on whichever stream."""
        client = subprocess.Popen(
            shlex.split(command), env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + SECONDS
        try:
            for line in wanted:
                said = ""
                while said.rstrip("\n") != line:
                    self.assertLess(time.monotonic(), deadline, command)
                    said = client.stdout.readline()
                    self.assertNotEqual(said, "", f"{command}: no {line}")
            if " sub " not in command:
                client.communicate(timeout=SECONDS)
                self.assertEqual(client.returncode, 0, command)
        finally:
            client.kill()
            client.communicate()

    def test_the_screen(self):
        killed = False
        for command, said in self.steps():
            if command.startswith("brokerd "):
                self.start(command)
            elif command.startswith("kill -9"):
                self.stop()
                killed = True
            else:
                self.run_client(command, said)
        self.assertTrue(killed)


if __name__ == "__main__":
    unittest.main()
