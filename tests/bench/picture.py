# SPDX-License-Identifier: MIT
"""The figures as bars, one panel a figure, as SVG. Knows only SVG and
report.Results; draws nothing that is not in there."""
from html import escape

import loads
import report

COLUMNS = 2
WIDTH = 470
GAP = 24
LABEL = 78
VALUE = 96
BAR = 15
STEP = 20
HEAD = 46
COLOURS = {loads.BROKERD: "#c2410c", loads.RELAY: "#64748b"}
PEER_COLOUR = "#94a3b8"
FONT = "font-family='system-ui, sans-serif'"


def text(x, y, content, size=12, colour="#0f172a", extra=""):
    return f"<text x='{x:.1f}' y='{y:.1f}' font-size='{size}' " \
           f"fill='{colour}' {FONT} {extra}>{escape(content)}</text>"


def bar(x, y, label, name, values, scale):
    """One bar with its least and greatest value as a thin line."""
    middle, least, greatest = values
    colour = COLOURS.get(name, PEER_COLOUR)
    length = max(1.0, middle * scale)
    end = min(greatest * scale, WIDTH - LABEL - VALUE)
    left = x + LABEL
    weight = "font-weight='600'" if name == loads.BROKERD else ""
    yield text(left - 6, y + 12, label, 12, "#334155",
               f"text-anchor='end' {weight}")
    yield f"<rect x='{left}' y='{y}' width='{length:.1f}' height='{BAR}' " \
          f"fill='{colour}'/>"
    yield f"<line x1='{left + least * scale:.1f}' " \
          f"x2='{left + end:.1f}' y1='{y + BAR / 2}' " \
          f"y2='{y + BAR / 2}' stroke='#0f172a' stroke-width='1.5'/>"
    yield text(left + end + 6, y + 12, report.number(middle), 12,
               "#0f172a", weight)


class Panel:
    """One figure: a bar for each candidate, or for each row of a family."""

    def __init__(self, row, figure):
        self.title = row.short or row.title
        better = "more" if figure.higher_is_better else "less"
        self.unit = f"{figure.title}; {better} is better"
        self.bars = []  # (label, candidate, (median, least, greatest))

    def add(self, results, row, figure):
        for name in results.candidates(row):
            values = results.summary(row, name, figure)
            if values:
                self.bars.append((row.bar or name, name, values))

    def height(self):
        return HEAD + STEP * len(self.bars) + 10

    def draw(self, x, y):
        # One bad round must not make all bars short.
        largest = min(max(values[2] for _, _, values in self.bars),
                      2 * max(values[0] for _, _, values in self.bars)) or 1
        scale = (WIDTH - LABEL - VALUE) / largest
        yield text(x, y + 14, self.title, 12, "#0f172a", "font-weight='600'")
        yield text(x, y + 31, self.unit, 11, "#475569")
        for index, (label, name, values) in enumerate(self.bars):
            yield from bar(x, y + HEAD - 6 + index * STEP, label, name,
                           values, scale)


def panels_of(results):
    """Panels with at least one bar; rows with the same short title share."""
    panels = {}
    for row in results.rows():
        for figure in row.figures:
            key = (row.short or row.title, figure.key)
            panel = panels.setdefault(key, Panel(row, figure))
            panel.add(results, row, figure)
    return [panel for panel in panels.values() if panel.bars]


def svg(data):
    """Lines of an SVG file."""
    places, heights = [], [GAP + 30] * COLUMNS
    for panel in panels_of(report.Results(data)):
        column = heights.index(min(heights))
        places.append((panel, GAP + column * (WIDTH + GAP), heights[column]))
        heights[column] += panel.height()
    width = GAP + COLUMNS * (WIDTH + GAP)
    height = max(heights) + GAP
    yield "<?xml version='1.0' encoding='UTF-8'?>"
    yield "<!-- SPDX-License-Identifier: MIT -->"
    yield f"<svg xmlns='http://www.w3.org/2000/svg' width='{width}' " \
          f"height='{height}' viewBox='0 0 {width} {height}' role='img'>"
    yield "<title>brokerd, a copying relay and other brokers</title>"
    yield f"<rect width='{width}' height='{height}' fill='white'/>"
    yield text(GAP, GAP + 8, f"Medians of {data['rounds']} rounds, "
               f"{data['date']}, {data['machine']['cpu']}; the thin line is "
               "the least and the greatest", 13, "#475569")
    for panel, x, y in places:
        yield from panel.draw(x, y)
    yield "</svg>"
