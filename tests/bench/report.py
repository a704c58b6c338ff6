# SPDX-License-Identifier: MIT
"""From the raw figures (report.json) to a table that can be read.

Nothing is measured here and no figure is written down here: the report is a
function of the JSON and of the targets in loads.py.
"""
from statistics import median

import loads


# Beside the figures of a row.
WALL = loads.Figure("per_second", "", True)
BUSY = loads.Figure("busy_percent", "", True)


def number(value):
    """Three digits that count: 12.3 M, 456 k, 7.89."""
    if value is None:
        return "–"
    for scale, unit in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= scale:
            return three_digits(value / scale) + unit
    return three_digits(value)


def three_digits(value):
    size = abs(value)
    return f"{value:.{0 if size >= 100 else 1 if size >= 10 else 2}f}"


class Results:
    """The cells of one run: what each candidate did in each row and round."""

    def __init__(self, data):
        self.data = data
        self.cells = {}
        for cell in data["cells"]:
            key = (cell["row"], cell["candidate"])
            self.cells.setdefault(key, {})[cell["round"]] = cell["result"]

    def rows(self):
        keys = {row for row, _ in self.cells}
        return [row for row in loads.ROWS if row.key in keys]

    def candidates(self, row):
        return [name for name in loads.ALL if (row.key, name) in self.cells]

    def by_round(self, row, candidate, figure):
        """Figure of each round in which the cell worked."""
        values = {}
        for turn, result in self.cells.get((row.key, candidate), {}).items():
            value = figure.of(result) if result.get("ok") else None
            if value is not None:
                values[turn] = value
        return values

    def summary(self, row, candidate, figure):
        """(median, least, greatest), or None."""
        values = self.by_round(row, candidate, figure).values()
        if not values:
            return None
        return median(values), min(values), max(values)

    def best_peer(self, row, figure):
        found = [(self.summary(row, name, figure), name)
                 for name in loads.PEERS]
        found = [(values[0], name) for values, name in found if values]
        if not found:
            return None
        pick = max if figure.higher_is_better else min
        return pick(found)[1]

    def ratio(self, figure, of, to):
        """Median of the ratios round by round: what slows the machine down in
        one round slows both down. of and to: (row, candidate)."""
        ours = self.by_round(*of, figure)
        theirs = self.by_round(*to, figure)
        ratios = [ours[turn] / theirs[turn] for turn in ours
                  if theirs.get(turn)]
        return median(ratios) if ratios else None

    def measured(self, row, figure, target):
        """What is to be compared with the target, and against whom."""
        ours = (row, loads.BROKERD)
        if target.against == "":
            values = self.summary(*ours, figure)
            return (values[0] if values else None), ""
        if target.against.startswith("row:"):
            other = loads.row(target.against[4:])
            return self.ratio(figure, ours, (other, loads.BROKERD)), other.key
        name = target.against
        if name == "peer":
            name = self.best_peer(row, figure)
        if name is None:
            return None, ""
        return self.ratio(figure, ours, (row, name)), name

    def waited_percent(self, key):
        """How much of the time a program waited for a core: (median of the
        cells, worst of them)."""
        shares = [100 * cell["result"][key] / cell["result"]["wall_s"]
                  for cell in self.data["cells"]
                  if cell["result"].get("ok") and key in cell["result"]]
        return (median(shares), max(shares)) if shares else (0, 0)

    def disturbed(self):
        """(cells whose 99th percentile is not counted, cells that have
        one)."""
        rows = {row.key for row in loads.ROWS
                if any(figure.undisturbed for figure in row.figures)}
        cells = [cell["result"] for cell in self.data["cells"]
                 if cell["row"] in rows and cell["result"].get("ok")]
        return sum(map(loads.is_disturbed, cells)), len(cells)

    def failures(self):
        return [cell for cell in self.data["cells"]
                if not cell["result"].get("ok")]


def verdict(value, target):
    if value is None:
        return "not measured"
    if target.factor is None:
        return ""
    return "met" if target.met(value) else "**not met**"


def measured_text(results, row, figure, target):
    """(the value or ratio with what it is against, whether it is met)."""
    value, against = results.measured(row, figure, target)
    shown = "–" if value is None else three_digits(value)
    if value is not None and target.against:
        shown += f" × {against}"
    return shown, verdict(value, target)


def table(head, lines):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for line in lines:
        yield "| " + " | ".join(line) + " |"


def target_lines(results):
    for row in results.rows():
        for figure in row.figures:
            for target in figure.targets:
                yield (row.title, figure.title, target.text(),
                       *measured_text(results, row, figure, target))


def cell_text(values):
    if values is None:
        return "–"
    middle, least, greatest = values
    return f"{number(middle)} ({number(least)}–{number(greatest)})"


def wall_text(results, row, name):
    if not row.shows_wall:
        return ""
    wall = results.summary(row, name, WALL)
    busy = results.summary(row, name, BUSY)
    return "" if wall is None or busy is None else \
        f"; {number(wall[0])}/s at {busy[0]:.0f} %"


def columns(data):
    """Who took part."""
    return [name for name in loads.ALL if name in data["versions"]]


def figure_lines(results):
    for row in results.rows():
        for figure in row.figures:
            line = [row.title, figure.title]
            for name in columns(results.data):
                line.append(cell_text(results.summary(row, name, figure)) +
                            wall_text(results, row, name))
            yield line


def quiet_text(results):
    shares = [f"{who} {middle:.1f} % of the time (at worst {worst:.0f} %)"
              for who, key in (("broker", "waited_s"),
                               ("load", "load_waited_s"))
              for middle, worst in (results.waited_percent(key),)]
    left_out, of_all = results.disturbed()
    return f"- Waiting for a core that something else had: {shares[0]}, " \
           f"{shares[1]}. Where it was more than " \
           f"{100 * loads.DISTURBED_SHARE:g} %, a 99th percentile does not " \
           f"count: {left_out} of {of_all} cells"


def facts(data):
    machine = data["machine"]
    kind = ", a virtual machine" if machine["virtual"] else ""
    yield f"- Date: {data['date']}"
    yield f"- Command: `{data['command']}`"
    yield f"- Machine: {machine['cpu']}, {machine['cores']} cores{kind}, " \
          f"{machine['memory']}; {machine['kernel']}; {machine['system']}"
    yield "- Cores: broker on " \
          f"{data['cores']['broker']}, load on {data['cores']['load']}; with " \
          "--threads N any core for both"
    yield f"- Load average: {data['load_average']['before']} before, " \
          f"{data['load_average']['after']} at the end (the bench itself " \
          "makes about 1 to 2)"
    yield "- Versions: " + ", ".join(
        f"{name} {version}" for name, version in data["versions"].items()) + \
        f"; tree {data['tree']}"
    absent = [name for name in loads.ALL if name not in data["versions"]]
    if absent:
        yield f"- Not there: {', '.join(absent)}"
    yield quiet_text(Results(data))
    yield f"- {data['rounds']} rounds of {data['seconds']:g} s a cell after " \
          f"{data['warmup']:g} s of warm-up; window " \
          f"{data['window_bytes'] // 1024} KiB" + "".join(
              f", {name} {size // 1024} KiB"
              for name, size in data["smaller_windows"].items())


def markdown(data, picture):
    results = Results(data)
    yield "# Measured"
    yield ""
    yield "Made by `tests/bench/run`; the README beside it says how to read " \
          "the figures and how to repeat them. Raw figures of every round: " \
          "[report.json](report.json)."
    yield ""
    yield from facts(data)
    yield ""
    yield "## Against the targets"
    yield ""
    yield "A ratio is the figure of brokerd divided by that of the candidate " \
          "or row that is named behind the ×, round by round, and of those " \
          "the median. The best peer is the one with the best median."
    yield ""
    yield from table(("load", "figure of brokerd", "target", "measured", ""),
                     target_lines(results))
    yield ""
    yield f"![All figures as bars]({picture})"
    yield ""
    yield "## All figures"
    yield ""
    yield "Median (least–greatest) of the rounds; then messages delivered " \
          "per second of wall time, and how much of one core's time the " \
          "broker used meanwhile. – means not measured."
    yield ""
    yield "In the rows with random topics the kernel's part of receiving and " \
          "sending a message is the same at every number of subscriptions; " \
          "it makes their ratio smaller than that of the lookup. The rows " \
          "“the core alone” are the same load without sockets: there nothing " \
          "is diluted but by parsing and queueing."
    yield ""
    yield from table(("load", "figure", *columns(data)), figure_lines(results))
    failed = results.failures()
    if failed:
        yield ""
        yield "## Cells that failed"
        yield ""
        for cell in failed:
            yield f"- {cell['row']}, {cell['candidate']}, round " \
                  f"{cell['round']}: {cell['result'].get('error')}"


def short_lines(results):
    """One line for each figure that has a target."""
    for row in results.rows():
        for figure in row.figures:
            targets = [t for t in figure.targets if t.factor is not None]
            if not targets:
                continue
            line = [row.title, figure.title]
            peer = results.best_peer(row, figure)
            for name in (loads.BROKERD, loads.RELAY, peer):
                values = results.summary(row, name, figure)
                line.append("–" if values is None else number(values[0]))
            if peer is not None:
                line[-1] += f" ({peer})"
            line.append(", ".join(target.text() for target in targets))
            line.append(", ".join(
                " ".join(measured_text(results, row, figure, target)).strip()
                for target in targets))
            yield line


def short(data, link):
    """For the project's README: the lines of a paragraph and a table."""
    if data is None:
        yield "No measurement is recorded in this tree."
        return
    machine = data["machine"]
    kind = ", virtual" if machine["virtual"] else ""
    versions = ", ".join(f"{name} {version}"
                         for name, version in data["versions"].items()
                         if name in loads.PEERS)
    yield f"Measured on {data['date'][:10]} ({machine['cpu']}{kind}; one " \
          f"core for the broker, one for the load; medians of " \
          f"{data['rounds']} rounds) beside {versions or 'no other broker'} " \
          f"and a relay that only copies bytes; [all of it]({link})."
    yield ""
    yield from table(("load", "figure", "brokerd", "relay", "best peer",
                      "target", "measured"), short_lines(Results(data)))
