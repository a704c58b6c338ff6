# SPDX-License-Identifier: MIT
"""Users, secrets and TLS: against a broker that is made by hand."""
import os
import ssl
import subprocess
import unittest

import fake_broker
import harness
from fake_broker import AUTH_DATA, AUTH_METHOD, USER

AUTH_REQUIRED, AUTH_FAILED = 201, 202


class Identity(harness.CtlTest):
    def fake(self, answer=b"answer", **more):
        broker = fake_broker.FakeBroker(answer, **more)
        self.addCleanup(broker.close)
        return broker

    def secret(self, text=b"s3cret\n", mode=0o600, name="secret"):
        path = self.write(name, text)
        os.chmod(path, mode)
        return path

    def hello_of(self, *arguments, **more):
        """The credentials in HELLO of a `pub` with these options."""
        broker = self.fake()
        result = self.expect(harness.OK, "pub", "-s", broker.address, "t", "m",
                             *arguments, **more)
        fields = broker.hellos[0]
        return (fields.get(USER), fields.get(AUTH_METHOD),
                fields.get(AUTH_DATA), result.err)

    def refused(self, code, says, *arguments, **more):
        result = self.expect(code, "ping", "-n", "1", "-s",
                             "tcp://127.0.0.1:1", *arguments, **more)
        self.assertIn(says, result.err)
        self.assertNotIn("s3cret", result.err)

    def test_nothing_is_said_without_options(self):
        self.assertEqual(self.hello_of(), (None, None, None, ""))

    def test_password_and_token(self):
        path = self.secret()
        self.assertEqual(
            self.hello_of("--user", "me", "--password-file", path),
            (b"me", b"password", b"s3cret", ""))
        path = self.secret(b"first line alone\nsecond\n")
        self.assertEqual(
            self.hello_of("--user", "me", "--token-file", path),
            (b"me", b"token", b"first line alone", ""))
        path = self.secret(b"no line break")
        self.assertEqual(
            self.hello_of("--user", "me", "--token-file", path),
            (b"me", b"token", b"no line break", ""))

    def test_environment(self):
        path = self.secret()
        env = harness.environment(BROKER_USER="me", BROKER_TOKEN_FILE=path)
        self.assertEqual(self.hello_of(env=env),
                         (b"me", b"token", b"s3cret", ""))
        # Options count more, also those of the other kind.
        other = self.secret(b"other\n", name="other")
        self.assertEqual(
            self.hello_of("--user", "you", "--password-file", other, env=env),
            (b"you", b"password", b"other", ""))
        env["BROKER_USER"] = env["BROKER_TOKEN_FILE"] = ""
        self.assertEqual(self.hello_of(env=env), (None, None, None, ""))

    def test_standard_input(self):
        """One line of it; the rest is the command's."""
        broker = self.fake()
        self.expect(harness.OK, "pub", "-s", broker.address, "--user", "me",
                    "--password-file", "-", "t", "--lines",
                    stdin=b"s3cret\none\ntwo\n")
        self.assertEqual(broker.hellos[0][AUTH_DATA], b"s3cret")
        self.assertEqual(broker.payloads, [b"one", b"two"])

    def test_contradictions(self):
        path = self.secret()
        self.refused(harness.USAGE, "not both", "--user", "me",
                     "--password-file", path, "--token-file", path)
        self.refused(harness.USAGE, "Add --user", "--token-file", path)
        self.refused(harness.USAGE, "needs a secret", "--user", "me")
        self.refused(harness.USAGE, "add --tls-cert", "--tls-key", path)

    def test_files(self):
        self.refused(harness.NO_INPUT, "cannot read /nonexistent/s", "--user",
                     "me", "--password-file", "/nonexistent/s")
        for text in (b"", b"\n", b"a\0b\n"):
            self.refused(harness.NO_INPUT, "there is no secret", "--user",
                         "me", "--password-file", self.secret(text))
        self.refused(harness.NO_INPUT, "longer than 16384", "--user", "me",
                     "--password-file", self.secret(b"x" * 16385))

    def test_a_file_that_others_may_read(self):
        for mode in (0o640, 0o604):
            path = self.secret(mode=mode)
            self.assertIn("chmod 600 " + path, self.hello_of(
                "--user", "me", "--password-file", path)[3])
        # explain makes no connection and reads none.
        env = harness.environment(BROKER_USER="me", BROKER_TOKEN_FILE="/none")
        self.expect(harness.OK, "explain", "AUTH_FAILED", env=env)

    def test_refused_by_the_broker(self):
        path = self.secret()
        for code in (AUTH_REQUIRED, AUTH_FAILED):
            broker = self.fake(refuses=code)
            result = self.expect(
                harness.NO_PERMISSION, "sub", "-s", broker.address, "a",
                "--user", "me", "--password-file", path)
            self.assertIn("AUTH_", result.err)
            self.assertNotIn("s3cret", result.err)
            self.assertEqual(len(broker.hellos), 1)

    def test_the_inbox_is_the_users(self):
        broker = self.fake(user=b"al.ice")
        self.expect(harness.OK, "req", "-s", broker.address, "t", "m")
        self.assertRegex(broker.reply_topics[0],
                         rb"\A_inbox/al\.ice/[0-9a-f]{32}\Z")
        text = self.expect(harness.OK, "pub", "-v", "-s", broker.address, "t",
                           "m").err
        self.assertIn("connected to %s as al.ice\n" % broker.address, text)

    def test_a_subscription_that_is_revoked(self):
        broker = self.fake(revokes=True)
        result = self.expect(harness.NO_PERMISSION, "sub", "-s",
                             broker.address, "a/#")
        self.assertIn("ended by the broker", result.err)
        self.assertIn("REVOKED", result.err)

    # ---- TLS ---------------------------------------------------------------

    def certificate(self, name, names):
        """A certificate that signed itself; certificate and key in one."""
        path, key = self.path(name + ".pem"), self.path(name + ".key")
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj",
             "/CN=" + name, "-addext", "subjectAltName=" + names, "-keyout",
             key, "-out", path], check=True, stderr=subprocess.DEVNULL)
        return path, key

    def tls_fake(self, path, key, **more):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(path, key)
        if more.pop("wants_certificate", None):
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(more.pop("trusts"))
        return self.fake(tls=context, **more)

    def test_tls(self):
        path, key = self.certificate("server", "DNS:a.example,IP:127.0.0.1")
        broker = self.tls_fake(path, key)
        self.expect(harness.OK, "pub", "-s", broker.address, "t", "m",
                    "--tls-ca", path)
        self.expect(harness.OK, "pub", "-s", broker.address, "t", "m",
                    env=harness.environment(BROKER_TLS_CA=path))
        self.expect(harness.OK, "pub", "-s", broker.address, "t", "m",
                    "--tls-ca", path, "--tls-name", "a.example")
        for arguments, text in (
                ([], "is not trusted"),
                (["--tls-ca", path, "--tls-name", "b.example"],
                 "is not for b.example but for a.example, 127.0.0.1"),
                (["--tls-ca", "/nonexistent"], "CA file /nonexistent")):
            result = self.expect(harness.UNAVAILABLE, "pub", "-s",
                                 broker.address, "t", "m", *arguments)
            self.assertIn(text, result.err)

    def test_a_client_certificate(self):
        path, key = self.certificate("server", "IP:127.0.0.1")
        mine, my_key = self.certificate("me", "email:me@a.example")
        broker = self.tls_fake(path, key, wants_certificate=True, trusts=mine)
        self.expect(harness.OK, "pub", "-s", broker.address, "t", "m",
                    "--tls-ca", path, "--tls-cert", mine, "--tls-key", my_key)
        os.chmod(my_key, 0o644)
        result = self.expect(
            harness.OK, "pub", "-s", broker.address, "t", "m",
            env=harness.environment(BROKER_TLS_CA=path, BROKER_TLS_CERT=mine,
                                    BROKER_TLS_KEY=my_key))
        self.assertIn("chmod 600 " + my_key, result.err)
        result = self.expect(harness.UNAVAILABLE, "pub", "-s", broker.address,
                             "t", "m", "--tls-ca", path)
        self.assertIn("client certificate", result.err)

    def test_the_wrong_scheme(self):
        plain = self.broker().tcp.replace("tcp://", "tls://")
        result = self.expect(harness.UNAVAILABLE, "pub", "-s", plain, "t", "m")
        self.assertIn("use tcp://", result.err)
        path, key = self.certificate("server", "IP:127.0.0.1")
        secure = self.tls_fake(path, key).address.replace("tls://", "tcp://")
        result = self.expect(harness.UNAVAILABLE, "pub", "-s", secure, "t",
                             "m")
        self.assertIn("tls://", result.err)


if __name__ == "__main__":
    unittest.main()
