# SPDX-License-Identifier: MIT
"""Where a run is written down: report.json with every figure, report.md and
report.svg made of it, and a short table in the project's README.

Everything but report.json is a function of report.json and loads.py, so that a
test can say whether they still agree."""
import json
from pathlib import Path

import picture
import report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
# What belongs to the documentation.
FOLDER = HERE / "report"
README = ROOT / "README.md"
BEGIN = "<!-- tests/bench/run --install writes this. -->\n"
END = "<!-- To here. -->\n"


def load(folder):
    """The figures of the last run that was written there, or None."""
    path = Path(folder) / "report.json"
    if not path.exists():
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def made_of(data):
    """{file name: text} beside report.json."""
    return {
        "report.svg": "\n".join(picture.svg(data)) + "\n",
        "report.md": "\n".join(report.markdown(data, "report.svg")) + "\n",
    }


def write(data, folder):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(
        json.dumps(data, indent=1) + "\n", encoding="utf-8")
    for name, text in made_of(data).items():
        (folder / name).write_text(text, encoding="utf-8")


def readme_with(data, text):
    """The README's text with the table of these figures in its place."""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{README} has no place for the table")
    table = "\n".join(report.short(data, "tests/bench/report/report.md"))
    return before + begin + table + "\n" + end + after


def write_readme(data):
    text = README.read_text(encoding="utf-8")
    README.write_text(readme_with(data, text), encoding="utf-8")


def disagreements():
    """What in the documentation is not what report.json says."""
    data = load(FOLDER)
    if data is not None:
        for name, text in made_of(data).items():
            path = FOLDER / name
            if not path.exists() or \
                    path.read_text(encoding="utf-8") != text:
                yield str(path.relative_to(ROOT))
    text = README.read_text(encoding="utf-8")
    if readme_with(data, text) != text:
        yield README.name
