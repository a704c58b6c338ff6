# SPDX-License-Identifier: MIT
"""One brokerd, the well-behaved pair, and one attack in rounds: what the
pair notices of it, and whether everything is as before afterwards.
"""
import contextlib
import os
import re
import resource
import signal
import statistics
import time
from dataclasses import dataclass, field

import probe
from attack import Attacker, harness
from harness import broker_wire as wire

MIB = harness.MIB
# Memory is small so that attacks reach its limit.
OPTIONS = {
    "threads": int(os.environ.get("BROKER_TEST_THREADS", "1")),
    "max_memory_bytes": 256 * MIB, "heartbeat_min_ms": 20,
    "session_memory_ms": 1000,
}
# The broker's patience: where a test waits for its end, and nearly as it is in
# earnest.
HASTY = {"heartbeat_ms": 2000, "handshake_timeout_ms": 1000,
         "write_timeout_ms": 1000, "close_linger_ms": 500,
         "half_close_linger_ms": 500}
PATIENT = {"heartbeat_ms": 5000, "write_timeout_ms": 10000}
# What the broker's own account of memory may keep: some receive blocks.
KEPT_ACCOUNT_MAX = 2 * MIB
# To see how it is without an attack, where that is only shown.
QUIET_SECONDS = 0.1
WARNINGS = {"runs-as-root", "protocol-error", "conn-closing", "slow-consumer"}
INFORMATION = {"ready", "conn-open", "conn-close", "stopping", "stopped"}
LOG_LINE = re.compile(r"^\S+ (debug|info|warning|error) ([a-z-]+)( |$)")


class FellOver(AssertionError):
    """The broker did not stand it; the text says how."""


def need(condition, text):
    if not condition:
        raise FellOver(text)


@dataclass
class State:
    """What has to be as before."""
    descriptors: int
    rss: int
    account: int


@dataclass
class Outcome:
    quiet: list = field(default_factory=list)  # probe.Figures of each round
    under: list = field(default_factory=list)
    counts: dict = field(default_factory=dict)
    before: State = None
    after: State = None
    peak: int = 0
    held: int = 0  # descriptors that the broker had at most for the attack
    recovery: float = 0.0  # seconds until the descriptors were back
    messages: int = 0

    def median(self, which, figure):
        """Of the rounds; `which` is quiet or under."""
        return statistics.median(getattr(f, figure)
                                 for f in getattr(self, which))

    def worst(self, which, figure="worst"):
        return max(getattr(f, figure) for f in getattr(self, which))

    def stays_within(self, figure, factor=5.0, extra_ms=10.0):
        quiet = self.median("quiet", figure)
        return self.median("under", figure) <= max(factor * quiet,
                                                   quiet + extra_ms)


class Scene:
    """Where an attack takes place."""

    def __init__(self, attack, short, seconds, rounds, seed, cpus=None):
        self.attack, self.short, self.seconds = attack, short, seconds
        self.rounds, self.seed, self.cpus = rounds, seed, cpus
        self.outcome = Outcome()
        self.windows = []
        self.broker = self.pair = self.attacker = None

    def play(self):
        """Returns the Outcome; raises FellOver, or unittest.SkipTest."""
        with self.attack.stage() as more, contextlib.ExitStack() as stack:
            stack.callback(self.destroy)
            try:
                hasty = self.short and self.attack.sheds
                self.start({**OPTIONS, **(HASTY if hasty else PATIENT),
                            **self.attack.options, **more})
                for number in range(self.rounds):
                    self.round(number)
                self.end()
            except (AssertionError, OSError, wire.Closed, wire.Refused,
                    wire.ProtocolError) as error:
                raise FellOver("%s\n%s" % (error or repr(error),
                                           self.end_of_log())) from None
        return self.outcome

    def start(self, options):
        # As many connections as there can be on this machine.
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.broker = harness.Broker(nofile=files, **options)
        if self.cpus:
            os.sched_setaffinity(self.broker.process.pid, self.cpus)
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self.broker.process.pid, -20)
        self.broker.wait_ready()
        self.pair = probe.Probe(self.broker.tcp,
                                self.broker.process.pid)
        self.wait(QUIET_SECONDS)
        self.outcome.before = self.state()

    def wait(self, seconds):
        """Lets the pair exchange messages for so long."""
        begin = time.monotonic()
        self.pair.channel.poll(seconds)  # it only speaks when it complains
        self.check_running()
        self.pair.check()
        return begin, time.monotonic()

    def check_running(self):
        need(self.broker.running, "brokerd is gone")

    def state(self):
        descriptors = self.broker.descriptors()
        with self.connection() as connection:
            account = connection.stats()["memory_bytes"]
        return State(descriptors, self.broker.rss_bytes(), account)

    def round(self, number):
        self.attacker = Attacker(self.attack.name, self.broker.addresses,
                                 self.short, self.seed + number)
        self.attacker.wait_prepared()
        self.windows.append(self.wait(
            QUIET_SECONDS if self.short else self.seconds))
        self.attacker.start()
        self.windows.append(self.wait(self.seconds if self.short else max(
            self.seconds, self.attack.least_seconds)))
        self.outcome.held = max(
            self.outcome.held, self.broker.descriptors()
            - self.outcome.before.descriptors)
        self.attacker.stop()
        for what, count in self.attacker.counts.items():
            self.outcome.counts[what] = (
                self.outcome.counts.get(what, 0) + count)
        self.check_page_of_books()
        if self.attack.sheds and number == self.rounds - 1:
            self.wait_for_descriptors("with the attacker still there")
        self.attacker.leave()
        self.attacker.destroy()
        self.wait_for_descriptors("after the attack")

    def check_page_of_books(self):
        """matched = delivered + queued + dropped, of the subscriptions that
        there are while the attacker is."""
        with self.connection() as connection:
            page = connection.system("subscriptions", limit=500)
        for entry in page["subscriptions"]:
            need(entry["matched"] == entry["delivered"] + entry["queued"]
                 + entry["dropped"], "books do not balance: %r" % entry)

    def connection(self):
        """One that asks for figures, as soon as there is room for it."""
        def let_in():
            with contextlib.suppress(wire.Closed, ConnectionError):
                return wire.Connection(self.broker.tcp,
                                       timeout=harness.DEADLINE)
        return harness.wait_until(let_in, what="to be let in")

    def wait_for_descriptors(self, when):
        self.check_running()
        begin = time.monotonic()
        harness.wait_until(
            lambda: self.broker.descriptors() <=
            self.outcome.before.descriptors,
            what="%s: %d descriptors for %d before; their end" % (
                when, self.broker.descriptors(),
                self.outcome.before.descriptors))
        self.outcome.recovery = max(self.outcome.recovery,
                                    time.monotonic() - begin)

    def end(self):
        outcome = self.outcome
        self.check_running()
        outcome.peak = self.peak_bytes()
        self.wait_for_memory()
        outcome.messages = self.pair.finish()
        for number in range(0, len(self.windows), 2):
            outcome.quiet.append(self.pair.figures(*self.windows[number]))
            outcome.under.append(self.pair.figures(*self.windows[number + 1]))
        self.check_books_of_pair()
        self.pair.destroy()
        self.check_end()

    def wait_for_memory(self):
        """The account and the process's size are back."""
        before = self.outcome.before

        def is_back():
            now = self.outcome.after = self.state()
            return (now.account <= before.account + KEPT_ACCOUNT_MAX and (
                not harness.MEMORY_IS_MEASURABLE or
                now.rss <= before.rss + self.attack.kept_bytes))
        try:
            harness.wait_until(is_back, 15)
        except AssertionError:
            raise FellOver("memory stays: %r, before it was %r" % (
                self.outcome.after, before)) from None

    def peak_bytes(self):
        with open("/proc/%d/status" % self.broker.process.pid) as file:
            return int(re.search(r"VmHWM:\s+(\d+) kB",
                                 file.read()).group(1)) * 1024

    def check_books_of_pair(self):
        with self.connection() as connection:
            page = connection.system("subscriptions")
            entries = [e for e in page["subscriptions"]
                       if e["filter"] == probe.TOPIC.decode()]
            need(page["total"] == 2, "subscriptions stay: %r" % page)
        need(len(entries) == 1, "the pair's subscription is gone")
        entry, messages = entries[0], self.outcome.messages
        need((entry["matched"], entry["delivered"], entry["dropped"]) ==
             (messages, messages, 0),
             "%d messages, but the books say %r" % (messages, entry))

    def check_end(self):
        self.broker.signal(signal.SIGTERM)
        code = self.broker.wait()
        need(code == 0, "brokerd's exit code is %d" % code)
        self.check_log()

    def check_log(self):
        allowed = INFORMATION | WARNINGS | set(self.attack.warnings)
        for line in self.broker.log().splitlines():
            match = LOG_LINE.match(line)
            need(match, "in the log: " + line)
            need(match.group(1) != "error" and match.group(2) in allowed,
                 "not expected in the log: " + line)

    def end_of_log(self):
        if self.broker is None:
            return ""
        code = self.broker.process.poll()
        return "brokerd %s; the end of its log:\n%s" % (
            "is running" if code is None else "ended with %d" % code,
            "\n".join(self.broker.log().splitlines()[-15:]))

    def destroy(self):
        for each in (self.attacker, self.pair, self.broker):
            if each is not None:
                each.destroy()
        if self.broker is not None:
            self.broker.log_file.close()
