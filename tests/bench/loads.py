# SPDX-License-Identifier: MIT
"""The loads: what is measured, by which figure, against which target.

The one place where a row of the report is defined. Knows nothing of how a
broker is started or a report is written.
"""
from dataclasses import dataclass, field
from typing import Optional

KIB = 1024
MIB = 1024 * KIB

BROKERD = "brokerd"
RELAY = "relay"
PEERS = ("nats", "redis", "mosquitto")
ALL = (BROKERD, RELAY) + PEERS
BROKERS = (BROKERD,) + PEERS


@dataclass(frozen=True)
class Target:
    """What brokerd should reach.

    against   "peer" (the best of them), one candidate's name, "row:KEY" (the
              same figure of brokerd in another row) or "" (a fixed value)
    factor    times that; with "" the value itself; None: there is no target,
              but the ratio is worth knowing
    at_least  the figure or ratio should not be below it; else not above it
    """
    against: str
    factor: Optional[float]
    at_least: bool

    def met(self, value):
        return value >= self.factor if self.at_least else value <= self.factor

    def text(self):
        if self.factor is None:
            return "–"
        word = "≥" if self.at_least else "≤"
        against = {"peer": "the best peer", RELAY: "the relay", "": ""}.get(
            self.against, self.against)
        if self.against.startswith("row:"):
            against = self.against[4:]
        factor = f"{self.factor:g}"
        return f"{word} {factor} × {against}" if against else \
            f"{word} {factor}"


# Of the time. If broker or load waited longer for a core, so many messages at a
# steady pace were late for it that the 99th percentile is the machine's.
DISTURBED_SHARE = 0.005


def is_disturbed(result):
    """Did something else have the cores, in one of the phases of a cell?"""
    return any(
        result.get(phase + "waited_s", 0) +
        result.get(phase + "load_waited_s", 0) >
        DISTURBED_SHARE * result.get(phase + "wall_s", 0)
        for phase in ("", "quiet_"))


@dataclass(frozen=True)
class Figure:
    """One number of a cell. key is also the name in the JSON."""
    key: str
    title: str
    higher_is_better: bool
    targets: tuple = ()
    undisturbed: bool = False  # else there is no figure

    def of(self, result):
        """The figure of one result of bench_load, or None."""
        if self.undisturbed and is_disturbed(result):
            return None
        try:
            return FIGURES[self.key](result)
        except (KeyError, ZeroDivisionError):
            return None


FIGURES = {
    "per_cpu_second": lambda r: r["delivered"] / r["cpu_s"],
    "acknowledged_per_cpu_second": lambda r: r["acknowledged"] / r["cpu_s"],
    "cpu_us_per_message": lambda r: 1e6 * r["cpu_s"] / r["delivered"],
    "cpu_ns_per_message": lambda r: 1e9 * r["cpu_s"] / r["delivered"],
    "busy_percent": lambda r: 100 * r["cpu_s"] / r["wall_s"],
    "per_second": lambda r: r["delivered"] / r["wall_s"],
    "p99_ratio": lambda r: r["p99_us"] / r["quiet_p99_us"],
    "p90_ratio": lambda r: r["p90_us"] / r["quiet_p90_us"],
    "quiet_p99_us": lambda r: r["quiet_p99_us"],
    "p50_us": lambda r: r["p50_us"],
    "p99_us": lambda r: r["p99_us"],
    "kib_per_connection": lambda r: r["bytes_per_connection"] / KIB,
}


def at_least(factor, against):
    return Target(against, factor, True)


def at_most(factor, against=""):
    return Target(against, factor, False)


def compared_with(against):
    return Target(against, None, False)


def per_cpu_second(*targets):
    return (Figure("per_cpu_second", "deliveries per CPU second", True,
                   targets),)


@dataclass(frozen=True)
class Row:
    """One load. args are bench_load's; smoke changes some for a short run."""
    key: str
    title: str
    figures: tuple
    args: dict
    candidates: tuple = ALL
    smoke: dict = field(default_factory=dict)
    brokerd_flags: tuple = ()
    core_case: str = ""  # bench_core's, without a broker, in place of a load
    threads: int = 0     # brokerd's, on all cores; 0: one thread on one core
    # With several threads one load generator may not be enough: these of the
    # args are divided among as many as there are cores to spare.
    shared: tuple = ()
    # Bytes, for a candidate that would take minutes to drain the usual window.
    windows: dict = field(default_factory=dict)
    shows_wall: bool = True  # messages per second of wall time mean something
    # For the picture: a shorter title, and the bar's name where rows with
    # the same short title share a panel.
    short: str = ""
    bar: str = ""


def one_to_one(key, payload, title, *targets):
    return Row(key, title, per_cpu_second(*targets), {"payload": payload})


def route(filters, subscriptions, label, *targets):
    """Subscriptions over ten connections, so that at every number a delivery
    costs the same around the lookup."""
    return Row(
        f"route-{filters}-{label}",
        f"{subscriptions:,} subscriptions, {filters} filters, random topics",
        (Figure("cpu_us_per_message", "CPU µs per publish", False, targets),),
        {"pattern": "spread", "subscribers": 10, "topics": subscriptions,
         "random": True, "filters": filters, "payload": 16},
        candidates=(BROKERD,), smoke={"topics": min(subscriptions, 20000)},
        brokerd_flags=("--max_subscriptions=100000",),
        short=f"random topics among N subscriptions, {filters} filters",
        bar=label)


def core(filters, subscriptions, label, *targets):
    """The same without sockets: what is left is the core."""
    return Row(
        f"core-{filters}-{label}",
        f"the core alone: {subscriptions:,} subscriptions, {filters} "
        "filters, random topics",
        (Figure("cpu_ns_per_message", "CPU ns per publish", False, targets),),
        {"topics": subscriptions, "seconds": 0.5}, candidates=(BROKERD,),
        smoke={"topics": min(subscriptions, 20000), "seconds": 0.1},
        core_case=f"route-{filters}", shows_wall=False,
        short=f"the same in the core alone, {filters} filters", bar=label)


def threads(kind, count, title, args, shared):
    """Against one thread; there is no target, it depends on the cores."""
    first = f"row:threads-{kind}-1"
    more = (compared_with(first),) if count > 1 else ()
    return Row(
        f"threads-{kind}-{count}",
        f"brokerd --threads {count}, {title}",
        (Figure("per_second", "deliveries per second", True, more),
         Figure("cpu_ns_per_message", "CPU ns per delivery", False, more)),
        args, candidates=(BROKERD,), threads=count, shared=shared,
        shows_wall=False, short=f"brokerd with N threads, {title}",
        bar=str(count))


def pairs_threads(count):
    return threads("pairs", count, "8 publishers, 8 subscribers, 128 B",
                   {"publishers": 8, "subscribers": 8},
                   ("publishers", "subscribers"))


def fanout_threads(count):
    return threads("fanout", count, "100 subscribers for each publisher, "
                   "128 B", {"pattern": "fanout", "subscribers": 100}, ())


ROWS = (
    one_to_one("16B", 16, "1 publisher, 1 subscriber, 16 B",
               at_least(15, "peer"), at_least(0.85, RELAY)),
    one_to_one("128B", 128, "1 publisher, 1 subscriber, 128 B",
               at_least(8, "peer"), at_least(0.85, RELAY)),
    one_to_one("4KiB", 4 * KIB, "1 publisher, 1 subscriber, 4 KiB",
               at_least(0.85, RELAY)),
    one_to_one("64KiB", 64 * KIB, "1 publisher, 1 subscriber, 64 KiB",
               at_least(0.85, RELAY)),
    Row("fanout", "1 publisher, 100 subscribers, 128 B",
        per_cpu_second(at_least(9, "peer"), at_least(1, RELAY)),
        {"pattern": "fanout", "subscribers": 100},
        # At a hundredth of the others' rate, 8 MiB for each subscriber would
        # be a minute's work.
        windows={"mosquitto": 256 * KIB}, smoke={"subscribers": 20}),
    Row("pairs", "50 publishers, 50 topics, 50 subscribers, 128 B",
        per_cpu_second(at_least(8, "peer")),
        {"publishers": 50, "subscribers": 50},
        smoke={"publishers": 10, "subscribers": 10}),
    Row("topics", "1 publisher, another of 10,000 topics with each message, "
        "100 subscribers with 100 topics each, 128 B",
        per_cpu_second(at_least(4, "peer")),
        {"pattern": "spread", "subscribers": 100, "topics": 10000},
        candidates=BROKERS, smoke={"subscribers": 20, "topics": 1000},
        short="another of 10,000 topics each time, 100 subscribers, 128 B"),
    Row("sparse", "1,000 publishers and topics, single messages, "
        "20,000 a second in all, 128 B",
        (Figure("cpu_us_per_message", "CPU µs per message", False,
                (at_most(0.6, "peer"),)),),
        {"load": "paced", "publishers": 1000, "subscribers": 1000,
         "rate": 20000},
        smoke={"publishers": 100, "subscribers": 100, "rate": 2000},
        short="single messages from 1,000 publishers, 20,000/s in all"),
    Row("group", "queue group of 4, 128 B",
        per_cpu_second(at_least(3, "nats")),
        {"pattern": "group", "subscribers": 4},
        candidates=(BROKERD, "nats")),
    Row("acknowledged", "acknowledged publishing, pipelined, 1 subscriber, "
        "128 B",
        (Figure("acknowledged_per_cpu_second",
                "acknowledged publishes per CPU second", True,
                (at_least(5, "redis"),)),),
        {"acknowledge": True}, candidates=(BROKERD, "redis")),
    Row("roundtrip", "round trip, one message at a time, 128 B",
        (Figure("p50_us", "µs, median", False, (at_most(1.1, RELAY),)),
         Figure("p99_us", "µs, 99 %", False, (at_most(1.1, RELAY),))),
        {"load": "roundtrip"}),
    Row("fairness", "1,000 messages a second beside a flood of 128 B",
        (Figure("p99_ratio", "99 % under flood, times that without", False,
                (at_most(5),), True),
         Figure("p90_ratio", "90 % under flood, times that without", False),
         Figure("quiet_p99_us", "µs without flood, 99 %", False, (), True),
         Figure("p99_us", "µs under flood, 99 %", False, (), True),
         Figure("p50_us", "µs under flood, median", False)),
        {"load": "fair", "publishers": 2, "subscribers": 2, "rate": 1000,
         "seconds": 1.5},
        smoke={"seconds": 0.2}),
    Row("idle", "5,000 idle connections with one subscription each",
        (Figure("kib_per_connection", "KiB of memory per connection", False,
                (at_most(1.5),)),),
        {"load": "idle", "subscribers": 5000, "seconds": 1.0, "warmup": 0.5},
        candidates=BROKERS,
        smoke={"subscribers": 200, "seconds": 0.1, "warmup": 0.1},
        shows_wall=False),
    route("exact", 100, "100"),
    route("exact", 10000, "10k"),
    route("exact", 1000000, "1M", at_most(3, "row:route-exact-100")),
    core("exact", 100, "100"),
    core("exact", 10000, "10k"),
    core("exact", 1000000, "1M", compared_with("row:core-exact-100")),
    route("wild", 100, "100"),
    route("wild", 10000, "10k"),
    route("wild", 1000000, "1M", at_most(3, "row:route-wild-100")),
    core("wild", 100, "100"),
    core("wild", 10000, "10k"),
    core("wild", 1000000, "1M", compared_with("row:core-wild-100")),
    pairs_threads(1), pairs_threads(2), pairs_threads(4),
    fanout_threads(1), fanout_threads(2), fanout_threads(4),
)


def row(key):
    for candidate in ROWS:
        if candidate.key == key:
            return candidate
    raise KeyError(key)
