# SPDX-License-Identifier: MIT
"""Certificates for tests, made with the openssl command: authorities, and
what they issue.  Nothing here is a secret, and nothing is kept."""
import os
import subprocess

LOCAL = "subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1"
EC = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
RSA = ["-newkey", "rsa:2048"]


def openssl(*arguments, **options):
    done = subprocess.run(["openssl", *arguments], capture_output=True,
                          stdin=subprocess.DEVNULL, check=False, **options)
    if done.returncode:
        raise AssertionError("openssl %s: %s" % (" ".join(arguments),
                                                 done.stderr.decode()))


class Certificate:
    """A certificate and its key, in two files of a folder."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.file = os.path.join(folder, name + ".crt")
        self.key_file = os.path.join(folder, name + ".key")
        self.pair = (self.file, self.key_file)


class Authority(Certificate):
    """Issues certificates; its own is who believes it is given."""

    def __init__(self, folder, name="ca"):
        super().__init__(folder, name)
        openssl("req", "-x509", *EC, "-nodes", "-days", "2", "-subj",
                "/CN=" + name, "-keyout", self.key_file, "-out", self.file)
        os.chmod(self.key_file, 0o600)

    def issue(self, name, subject=None, extension=LOCAL, kind=None, days=2):
        """A certificate for `subject`, "/CN=name" unless given; days may be
        negative, and then it has expired."""
        made = Certificate(self.folder, name)
        request = os.path.join(self.folder, name + ".csr")
        extensions = os.path.join(self.folder, name + ".ext")
        with open(extensions, "w") as file:
            file.write(extension)
        openssl("req", *(kind or EC), "-nodes", "-utf8", "-subj",
                subject or "/CN=" + name, "-keyout", made.key_file, "-out",
                request)
        openssl("x509", "-req", "-in", request, "-CA", self.file, "-CAkey",
                self.key_file, "-CAcreateserial", "-days", str(days),
                "-extfile", extensions, "-out", made.file)
        os.chmod(made.key_file, 0o600)
        return made
