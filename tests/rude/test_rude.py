# SPDX-License-Identifier: MIT
"""Every attack for a short time, against a brokerd of its own: a pair of
well-behaved clients loses nothing meanwhile, and afterwards the broker's
descriptors, memory, books and log are as they should be.

How long messages take is printed, and bounded generously: how busy the
machine is counts for more here.  tests/rude/run measures.
"""
import os
import sys
import unittest

import attack
import scene

SECONDS = 0.3
# The longest that a message of the pair may take, in milliseconds.
LONGEST_MS = float(os.environ.get("BROKER_TEST_LONGEST_MS", "20000"))
SEED = int(os.environ.get("BROKER_TEST_SEED", "1"))


class Rude(unittest.TestCase):
    """One test for each attack; the methods are made below."""

    def play(self, which):
        try:
            outcome = scene.Scene(which, True, SECONDS, 1, SEED).play()
        except unittest.SkipTest as reason:
            print("%-28s skipped: %s" % (which.name, reason))
            raise
        except scene.FellOver as error:
            if not which.weak:
                raise
            print("%-28s known to be weak: %s (%s)" % (
                which.name, which.weak, str(error).splitlines()[0]))
            return
        print("%-28s %6d messages, p99 %7.2f ms quiet, %8.2f ms under it "
              "(%.2f ms of CPU time), longest %.1f ms" % (
                  which.name, outcome.messages,
                  outcome.median("quiet", "p99"),
                  outcome.median("under", "p99"),
                  outcome.median("under", "p99_cpu"),
                  outcome.worst("under")))
        self.assertLess(outcome.worst("under"), LONGEST_MS)


def add_tests():
    for number, each in enumerate(attack.all_attacks().values()):
        def test(self, each=each):
            self.play(each)
        words = "".join(c if c.isalnum() else "_" for c in each.name)
        test.__doc__ = each.what
        setattr(Rude, "test_%02d_%s" % (number, words), test)


add_tests()

if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)
    unittest.main()
