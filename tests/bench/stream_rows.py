# SPDX-License-Identifier: MIT
"""The rows of tests/bench/streams, their figures and targets, and the report
that is made of what was measured. Knows nothing of how a broker is started."""
from dataclasses import dataclass, field
from statistics import median


@dataclass(frozen=True)
class Row:
    """candidates: NAME, or NAME:VARIANT with other arguments. With has_raw the
    raw log runs behind brokerd: `raw` with the window as its batch, and
    `raw:batch` with the mean batch that brokerd had."""
    key: str
    title: str
    load: str
    figure: str
    arguments: dict
    candidates: tuple
    # (whose figure, divided by whose, target or None, is it a lower bound)
    targets: tuple = ()
    has_raw: bool = False
    variants: dict = field(default_factory=dict)


FIGURES = {
    "per second": lambda r: r["count"] / r["wall_s"],
    "per CPU second": lambda r: r["count"] / r["cpu_s"],
    "µs": lambda r: r["p50_us"],
    "load's CPU, % of a core": lambda r: 100 * r["load_cpu_s"] / r["wall_s"],
    "messages a sync": lambda r: r["batch"],
}
REPLAYED = 1000000
CONSUMED = 500000

ROWS = (
    Row("publish", "synced publishes, 128 B, 1 publisher, 1,024 in flight",
        "publish", "per second", {"window": 1024},
        ("brokerd", "redis", "jetstream"),
        (("brokerd", "raw:batch", 0.6, True), ("brokerd", "raw", None, True),
         ("brokerd", "redis", 5, True), ("brokerd", "jetstream", 1, True)),
        has_raw=True),
    Row("single", "one publish in flight, 128 B: median latency",
        "publish", "µs", {"window": 1},
        ("brokerd", "redis", "jetstream"),
        (("brokerd", "raw", 1.3, False), ("brokerd", "redis", None, False)),
        has_raw=True),
    Row("many", "the same as `publish`, to 100 streams in turn",
        "publish", "per second", {"window": 1024, "topics": 100},
        ("brokerd", "brokerd:one", "jetstream"),
        (("brokerd", "brokerd:one", 0.8, True),
         ("brokerd", "jetstream", None, True)),
        variants={"one": {"topics": 1}}),
    Row("replay", f"replay of {REPLAYED:,} messages of 128 B to one reader",
        "replay", "per CPU second", {"count": REPLAYED},
        ("brokerd", "jetstream"),
        (("brokerd", "", 3e6, True), ("brokerd", "jetstream", 5, True))),
    Row("consume", f"{CONSUMED:,} messages of 128 B to a durable consumer, "
        "each acknowledged", "consume", "per second", {"count": CONSUMED},
        ("brokerd", "brokerd:single", "jetstream"),
        (("brokerd", "jetstream", 5, True),
         ("brokerd:single", "jetstream", 5, True)),
        variants={"single": {"singly": True}}),
)


def number(value):
    if value is None:
        return "–"
    if value >= 1e6:
        return f"{value / 1e6:.2f} M"
    if value >= 1e4:
        return f"{value / 1e3:.0f} k"
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def value_of(figure, result):
    try:
        return FIGURES[figure](result) if result.get("ok") else None
    except (KeyError, ZeroDivisionError):
        return None


def brief(row, result):
    if not result.get("ok"):
        return "FAILED: " + str(result.get("error"))
    return ", ".join(f"{number(value_of(name, result))} {name}"
                     for name in FIGURES
                     if value_of(name, result) is not None)


def by_round(data, row, name, figure):
    return {cell["round"]: value_of(figure, cell["result"])
            for cell in data["cells"]
            if cell["row"] == row.key and cell["candidate"] == name and
            value_of(figure, cell["result"]) is not None}


def spread(values):
    if not values:
        return "–"
    values = sorted(values)
    return f"{number(median(values))} ({number(values[0])}–" \
           f"{number(values[-1])})"


def ratios(data, row, ours, theirs):
    top = by_round(data, row, ours, row.figure)
    if theirs == "":
        return list(top.values())
    below = by_round(data, row, theirs, row.figure)
    return [top[turn] / below[turn] for turn in top if turn in below]


def target_lines(data):
    yield "| row | figure | of | target | measured |"
    yield "|---|---|---|---|---|"
    for row in ROWS:
        for ours, theirs, factor, is_least in row.targets:
            values = ratios(data, row, ours, theirs)
            if not values:
                continue
            word = "≥" if is_least else "≤"
            against = f" × {theirs}" if theirs else ""
            wanted = f"{word} {number(factor)}{against}" \
                if factor is not None else f"– × {theirs}"
            met = "" if factor is None else (
                " ✓" if (median(values) >= factor) == is_least else " ✗")
            yield f"| {row.title} | {row.figure} | {ours} | {wanted} | " \
                  f"{spread(values)}{met} |"


def figure_lines(data):
    yield "| row | candidate | " + " | ".join(FIGURES) + " |"
    yield "|---|---|" + "---|" * len(FIGURES)
    for row in ROWS:
        names = dict.fromkeys(cell["candidate"] for cell in data["cells"]
                              if cell["row"] == row.key)
        for name in names:
            shown = [spread(list(by_round(data, row, name, figure).values()))
                     for figure in FIGURES]
            if set(shown) != {"–"}:
                yield f"| {row.key} | {name} | " + " | ".join(shown) + " |"


def long_lines(data):
    big, trim = data.get("big"), data.get("trim")
    if big:
        yield f"- A store of {big['gigabytes']:g} GB ({big['payload']} B a " \
              f"message): filled in {big['fill_s']:.0f} s, " \
              f"{big['disk_bytes'] / 1e9:.1f} GB on disk; memory of the " \
              f"broker's own {big['resident'] / 1e6:.0f} MB, after a start " \
              f"{big['resident_after_start'] / 1e6:.0f} MB; at most " \
              f"{big['most'] / 1e6:.0f} MB while it was filled, with " \
              f"max_memory_bytes and store_memory_bytes " \
              f"{big['cap'] / 1e6:.0f} MB together."
        for key, word in (("cold_s", "cold"), ("warm_s", "warm")):
            if big[key]:
                yield f"- Start after kill -9, {word}: " \
                      f"{spread(big[key])} s."
    if trim:
        yield f"- Publishing for {trim['seconds']:g} s to a stream of at " \
              "most 256 MB, first and last third: " + ", ".join(
                  f"{number(trim[key + '_first_third'])} and "
                  f"{number(trim[key + '_last_third'])} {word}"
                  for key, word in (
                      ("per_second", "a second"),
                      ("per_cpu_second", "a CPU second"),
                      ("disk_bytes", "bytes on disk"),
                      ("resident", "bytes of memory"))) + "."


def report(data):
    """Lines of Markdown."""
    host = data["machine"]
    yield "# Streams"
    yield ""
    yield f"{data['date']}, {host['cpu']}, {host['cores']} cores, tree " \
          f"{data['tree']}, load average {data['load_average']['before']} " \
          f"before and {data['load_average'].get('after', '–')} after. " \
          f"Medians of {data['rounds']} rounds (least–greatest)."
    yield ""
    if data.get("big") or data.get("trim"):
        yield from long_lines(data)
        yield ""
    if data["cells"]:
        yield "Ratios are formed round by round."
        yield ""
        yield from target_lines(data)
        yield ""
        yield from figure_lines(data)
    for cell in data["cells"]:
        if not cell["result"].get("ok"):
            yield ""
            yield f"Failed: {cell['row']}, {cell['candidate']}, round " \
                  f"{cell['round']}: {cell['result'].get('error')}"
