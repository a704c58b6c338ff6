# SPDX-License-Identifier: MIT
"""Addresses, failing connections, lost connections."""
import os
import re
import signal
import socket
import threading
import unittest

import harness


def free_port():
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Addresses(harness.CtlTest):
    def round_trip(self, address):
        sub = self.subscriber(address, "t", "--count", "1")
        self.expect(harness.OK, "pub", "-s", address, "t", "hello")
        self.assertEqual(sub.wait(), harness.OK)
        self.assertEqual(sub.stdout.bytes(), b"hello\n")

    def test_unix_ipv4_and_ipv6(self):
        broker = self.broker(self.every_kind_of_address())
        for address in broker.addresses:
            with self.subTest(address=address):
                self.round_trip(address)
        name = broker.tcp.replace("127.0.0.1", "localhost")
        self.round_trip(name)

    def test_server_before_and_after_the_command(self):
        broker = self.broker()
        for arguments in (["-s", broker.tcp, "pub", "t", "m"],
                          ["pub", "-s", broker.tcp, "t", "m"],
                          ["pub", "t", "m", "-s", broker.tcp],
                          ["--server=" + broker.tcp, "pub", "t", "m"]):
            self.expect(harness.OK, *arguments)

    def test_environment(self):
        broker = self.broker()
        env = harness.environment(BROKER_URL=broker.tcp)
        self.expect(harness.OK, "pub", "t", "m", env=env)
        # -s counts more.
        self.expect(harness.UNAVAILABLE, "pub", "t", "m", "-s",
                    "unix:///nowhere", env=env)

    def test_default_order(self):
        """$XDG_RUNTIME_DIR/brokerd.sock comes first."""
        self.broker(["unix://" + self.path("brokerd.sock")])
        for url in (None, ""):
            env = harness.environment(XDG_RUNTIME_DIR=self.folder)
            if url is not None:
                env["BROKER_URL"] = url
            text = self.expect(harness.OK, "-v", "pub", "t", "m",
                               env=env).err
            self.assertIn("connected to unix://" + self.folder, text)


class Refusals(harness.CtlTest):
    def refused(self, address, *says, code=harness.UNAVAILABLE, more=()):
        for command in (["pub", "t", "m"], ["sub", "t"], ["req", "t"],
                        ["reply", "t", "x"], ["ping"], ["stats"]):
            with self.subTest(command=command[0]):
                result = self.expect(code, "-s", address, *command, *more)
                self.assertEqual(result.out, b"")
                self.assertEqual(len(result.err.splitlines()), 1, result)
                for part in says:
                    self.assertIn(part, result.err)

    def test_no_socket_file(self):
        address = "unix://" + self.path("none.sock")
        self.refused(address, "cannot connect to " + address,
                     "No such file", "is brokerd running?")

    def test_nobody_listens(self):
        address = "tcp://127.0.0.1:%d" % free_port()
        self.refused(address, "cannot connect to " + address, "refused",
                     "is brokerd running?")

    def test_bad_address(self):
        self.refused("http://x", "http://x", "tcp://", code=harness.USAGE)

    def test_unknown_host(self):
        result = self.expect(
            harness.UNAVAILABLE, "-s", "tcp://no-such-host.invalid", "pub",
            "t", "m", "--timeout", "1s")
        self.assertIn("no-such-host.invalid", result.err)

    def test_not_a_broker(self):
        """Somebody else listens there, and answers in another protocol."""
        listener = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listener.close)

        def serve():
            while True:
                try:
                    peer, _ = listener.accept()
                except OSError:
                    return
                with peer:
                    peer.recv(100)
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        self.refused("tcp://127.0.0.1:%d" % listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(harness.DEADLINE)

    def test_silence(self):
        """Somebody listens and never answers."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
            result = self.expect(harness.UNAVAILABLE, "-s", address, "pub",
                                 "t", "m", "--timeout", "100ms")
            self.assertIn(address, result.err)

    def test_interrupted(self):
        """A signal ends the wait for a broker that does not answer."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            address = "tcp://127.0.0.1:%d" % listener.getsockname()[1]
            for command in (["sub", "t"], ["reply", "t", "x"]):
                process = self.start(*command, "-s", address,
                                     "--connect-timeout", "0")
                peer, _ = listener.accept()
                process.signal(signal.SIGINT)
                self.assertEqual(process.wait(), harness.UNAVAILABLE)
                self.assertIn("interrupted", process.error_text())
                peer.close()

    def test_connection_limit(self):
        broker = self.broker(max_connections=1)
        self.subscriber(broker.tcp, "t")
        result = self.expect(harness.UNAVAILABLE, "-s", broker.tcp, "ping")
        self.assertIn("connection limit reached", result.err)


class Losses(harness.CtlTest):
    def setUp(self):
        super().setUp()
        self.address = "unix://" + self.path("s.sock")

    def restart(self, broker, how=signal.SIGKILL, **options):
        broker.process.signal(how)
        broker.process.wait()
        return self.broker([self.address], **options)

    def test_sub_reconnects_and_says_so(self):
        broker = self.broker([self.address])
        sub = self.subscriber(self.address, "t")
        self.expect(harness.OK, "-s", self.address, "pub", "t", "before")
        sub.expect_out(b"before\n")
        self.restart(broker)
        sub.expect_error("trying again")
        sub.expect_error("connected to %s again" % self.address)
        sub.expect_error("gap: messages may be missing on t (")
        self.expect(harness.OK, "-s", self.address, "pub", "t", "after",
                    "--require-subscribers")
        sub.expect_out(b"after\n")
        sub.signal(signal.SIGINT)
        self.assertEqual(sub.wait(), harness.GAP)

    def test_refused_after_a_restart(self):
        """The new broker does not take all subscriptions: no waiting for
        messages that cannot come."""
        broker = self.broker([self.address])
        sub = self.subscriber(self.address, "t", "u")
        reply = self.replier(self.address, "a/long/filter", "x")
        self.restart(broker, max_subscriptions=1, max_topic_levels=2)
        for process, what in ((sub, "u: "), (reply, "a/long/filter: ")):
            self.assertIn(process.wait(), (harness.FAILED, harness.USAGE))
            self.assertIn("brokerctl: " + what, process.error_text())
            self.assertEqual(process.error_text().count("gap: "), 1)

    def test_no_reconnect(self):
        for command in (["sub", "t"], ["reply", "t", "x"]):
            with self.subTest(command=command[0]):
                broker = self.broker([self.address])
                process = self.start(*command, "-v", "-s", self.address,
                                     "--no-reconnect")
                self.subscribed(process)
                broker.process.signal(signal.SIGKILL)
                self.assertEqual(process.wait(), harness.UNAVAILABLE)
                broker.process.wait()
                self.assertNotIn("trying again", process.error_text())
                os.unlink(self.path("s.sock"))

    def test_pub_survives_a_restart(self):
        """What was not acknowledged goes to the new broker."""
        broker = self.broker([self.address])
        process = self.start("pub", "-v", "-s", self.address, "t", "--lines",
                             "--timeout", "30s", stdin=harness.subprocess.PIPE)
        process.stdin.write(b"one\n")
        process.stdin.flush()
        process.expect_error("connected to")
        self.restart(broker, signal.SIGTERM)
        process.stdin.write(b"two\n")
        process.stdin.close()
        self.assertEqual(process.wait(), harness.OK)
        self.assertIn("sent 2,", process.error_text())

    def test_pub_does_not_wait_for_ever(self):
        broker = self.broker([self.address])
        process = self.start("pub", "-s", self.address, "t", "--lines",
                             "--timeout", "200ms",
                             stdin=harness.subprocess.PIPE)
        process.stdin.write(b"one\n")
        process.stdin.flush()
        harness.wait_until(lambda: b'"received_messages":1' in self.ctl(
            "stats", "--json", "-s", self.address).out, "the first message")
        broker.process.signal(signal.SIGKILL)
        self.assertEqual(process.wait(), harness.UNAVAILABLE)
        self.assertRegex(process.error_text(), "no connection for 200")
        broker.process.wait()

    def test_a_long_outage_is_said_once(self):
        broker = self.broker([self.address])
        sub = self.start("sub", "-s", self.address, "t", "--timeout", "2s")
        harness.wait_until(lambda: b"brokerctl sub" in self.ctl(
            "stats", "connections", "-s", self.address).out,
            "the connection")
        broker.process.signal(signal.SIGKILL)
        broker.process.wait()
        self.assertEqual(sub.wait(), harness.GAP)
        self.assertIn("gap: messages may be missing (there is no connection)",
                      sub.error_text())
        said = re.findall("trying again", sub.error_text())
        self.assertEqual(len(said), 1, sub.error_text())


if __name__ == "__main__":
    unittest.main()
