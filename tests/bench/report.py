# SPDX-License-Identifier: MIT
"""From the raw figures (report.json) to a table that can be read.

Nothing is measured here and no figure is written down here: the report is a
function of the JSON and of the targets in loads.py.
"""
from statistics import median

import loads


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

    def failures(self):
        return [cell for cell in self.data["cells"]
                if not cell["result"].get("ok")]


def verdict(value, target):
    if value is None:
        return "not measured"
    met = value >= target.factor if target.at_least else value <= target.factor
    return "met" if met else "**not met**"


def table(head, lines):
    yield "| " + " | ".join(head) + " |"
    yield "|" + "---|" * len(head)
    for line in lines:
        yield "| " + " | ".join(line) + " |"


def target_lines(results):
    for row in results.rows():
        for figure in row.figures:
            for target in figure.targets:
                value, against = results.measured(row, figure, target)
                shown = "–" if value is None else three_digits(value)
                if value is not None and target.against:
                    shown += f" × {against}"
                yield (row.title, figure.title, target.text(), shown,
                       verdict(value, target))


def cell_text(values):
    if values is None:
        return "–"
    middle, least, greatest = values
    return f"{number(middle)} ({number(least)}–{number(greatest)})"


def wall_text(results, row, name):
    wall = loads.Figure("per_second", "", True)
    values = results.summary(row, name, wall) if row.shows_wall else None
    return "" if values is None else f"; {number(values[0])}/s"


def figure_lines(results):
    for row in results.rows():
        for figure in row.figures:
            line = [row.title, figure.title]
            for name in loads.ALL:
                line.append(cell_text(results.summary(row, name, figure)) +
                            wall_text(results, row, name))
            yield line


def facts(data):
    machine = data["machine"]
    kind = ", a virtual machine" if machine["virtual"] else ""
    yield f"- Date: {data['date']}"
    yield f"- Command: `{data['command']}`"
    yield f"- Machine: {machine['cpu']}, {machine['cores']} cores{kind}, " \
          f"{machine['memory']}; {machine['kernel']}; {machine['system']}"
    yield "- Cores: broker on " \
          f"{data['cores']['broker']}, load on {data['cores']['load']}"
    yield f"- Load average: {data['load_average']['before']} before, " \
          f"{data['load_average']['after']} at the end (the bench itself " \
          "makes about 1 to 2)"
    yield "- Versions: " + ", ".join(
        f"{name} {version}" for name, version in data["versions"].items()) + \
        f"; tree {data['tree']}"
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
    yield from table(("load", "figure of brokerd", "target", "measured", ""),
                     target_lines(results))
    yield ""
    yield f"![All figures as bars]({picture})"
    yield ""
    yield "## All figures"
    yield ""
    yield "Median (least–greatest) of the rounds; then messages delivered " \
          "per second of wall time. – means not measured."
    yield ""
    yield from table(("load", "figure", *loads.ALL), figure_lines(results))
    failed = results.failures()
    if failed:
        yield ""
        yield "## Cells that failed"
        yield ""
        for cell in failed:
            yield f"- {cell['row']}, {cell['candidate']}, round " \
                  f"{cell['round']}: {cell['result'].get('error')}"
