#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The program in the README does what the README says.

    BROKERD=path/to/brokerd PROGRAM=path/to/readme_program test_readme.py

CMake takes its source out of README.md.
"""
import os
import subprocess
import tempfile
import unittest


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


if __name__ == "__main__":
    unittest.main()
