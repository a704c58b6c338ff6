# SPDX-License-Identifier: MIT
"""What others have sent does not control the terminal."""
import json
import os
import pty
import unittest

import fake_broker
import harness

# Colour, title, a C1 control as UTF-8 and as a bare byte, DEL, a bell.
EVIL = b"a\x1b[31mb\x1b]0;c\x07\xc2\x9b2Jd\x9b2Je\x7f"
TAME = (b"a\\u001b[31mb\\u001b]0;c\\u0007\\u009b2Jd\\x9b2Je\\u007f")


class Terminal(harness.CtlTest):
    def broker_saying(self, answer):
        broker = fake_broker.FakeBroker(answer)
        self.addCleanup(broker.close)
        return broker

    def on_terminal(self, *arguments):
        """Standard output of brokerctl on a terminal, which makes \\r\\n of
        line breaks."""
        mine, theirs = pty.openpty()
        process = self.start(*arguments, stdout=theirs)
        os.close(theirs)
        data = b""
        while True:
            try:
                piece = os.read(mine, 65536)
            except OSError:  # the other side is closed
                break
            if not piece:
                break
            data += piece
        os.close(mine)
        self.assertEqual(process.wait(), harness.OK, process.error_text())
        return data.replace(b"\r\n", b"\n")

    def test_payloads(self):
        broker = self.broker_saying(EVIL)
        ask = ["req", "-s", broker.address, "t", "m"]
        self.assertEqual(self.on_terminal(*ask), TAME + b"\n")
        self.assertEqual(
            self.on_terminal(*ask, "--format", "\\x1b[1m%p\\x1b[0m\\n"),
            b"\x1b[1m" + TAME + b"\x1b[0m\n")
        # Who wants the bytes gets them, and so does a pipe.
        self.assertEqual(self.on_terminal(*ask, "--raw"), EVIL)
        self.assertEqual(self.expect(harness.OK, *ask).out, EVIL + b"\n")

    def test_texts_stay_as_they_are(self):
        text = "Grüße\t€ 𝄞 ‮\nsecond line\\x".encode()
        broker = self.broker_saying(text)
        ask = ["req", "-s", broker.address, "t", "m"]
        self.assertEqual(self.on_terminal(*ask), text + b"\n")

    def test_json(self):
        """It stays the same JSON."""
        text = "a\x1b\x7f\x9b2Jü\n"
        broker = self.broker_saying(text.encode())
        ask = ["req", "-s", broker.address, "t", "m", "--json"]
        line = self.on_terminal(*ask)
        self.assertNotRegex(line, b"[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]")
        self.assertEqual(json.loads(line)["payload"], text)
        self.assertIn("ü", line.decode())

    def test_topics_and_headers(self):
        broker = self.broker()
        address = broker.tcp
        for arguments, expected in (
                (["--topic"], b"t/\\u001b\\u000a p\n"),
                (["--headers"], b"[k\\u009b=v\\u0007] p\n"),
                (["--format", "%t %{k\u009b}\\n"],
                 b"t/\\u001b\\u000a v\\u0007\n")):
            self.expect(harness.OK, "pub", "-s", address, "--retain",
                        "-H", "k\u009b=v\x07", "t/\x1b\n", "p")
            self.assertEqual(
                self.on_terminal("sub", "-s", address, "-n", "1", "t/#",
                                 *arguments), expected)

    def test_lines_on_standard_error(self):
        """A topic in an error is part of one line."""
        broker = self.broker()
        result = self.expect(harness.USAGE, "pub", "-s", broker.tcp,
                             "a\x1b/+\nbrokerctl: all is well", "m")
        self.assertEqual(result.err.count("\n"), 1)
        self.assertNotIn("\x1b", result.err)


if __name__ == "__main__":
    unittest.main()
