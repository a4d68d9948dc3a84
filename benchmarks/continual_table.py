"""Tables and pictures of benchmarks/continual.py, in docs/continual.md and docs/continual-SEQUENCE.svg."""

import io
import json
import statistics

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from page import DOCS, insert

from bnnhw.files import atomic_write

__all__ = ["flat", "read", "table", "write"]

TITLES = {"permuted-mnist": "Permuted MNIST", "mnist-fashion": "MNIST, then Fashion-MNIST", "pixels": "8-bit pixels",
          "levels": "thermometer"}
LISTS = ("hidden", "curves_percent", "task_accuracy_percent", "fraction_bits")      # JSON text in the file, whose rows are flat


def read(path):
    """The rows of the result file ``path`` (Path); none where there is no file."""
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    return [row | {key: json.loads(row[key]) for key in LISTS} for row in rows]


def flat(rows):
    """``rows`` as the result file has them."""
    return [row | {key: json.dumps(row[key]) for key in LISTS} for row in rows]


def _groups(rows):
    """{sequence: {(first, method): rows of all seeds}}, in the order of the rows."""
    found = {}
    for row in rows:
        found.setdefault(row["sequence"], {}).setdefault((row["first"], row["method"]), []).append(row)
    return found


def _spread(values):
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def _lines(header, body):
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in (header, ["---"] * len(header), *body))


def _exactness(rows):
    seen = [row for row in rows if "verilog_images" in row]
    text = (f"\nOf {len(rows)} exported networks, {sum(row['differing_decisions'] for row in rows)} of "
            f"{sum(row['compared_images'] for row in rows):,} decisions and "
            f"{sum(row['differing_hidden_values'] for row in rows)} hidden values differ between trained and golden model, each "
            "task's test images with that task's bank.")
    if seen:
        text += (f" Of {sum(row['verilog_images'] for row in seen):,} images through the generated Verilog of {len(seen)} of "
                 f"them, the task changing with every image, {sum(row['verilog_mismatches'] for row in seen)} differ from the "
                 "golden model in any value between the layers.")
    return text + "\n"


def table(rows):
    """The Markdown between the markers."""
    if not rows:
        return "This has not been measured yet: `python benchmarks/continual.py` takes half an hour.\n"
    text = []
    for sequence, groups in _groups(rows).items():
        some = next(iter(groups.values()))[0]
        count, seeds = len(some["curves_percent"]), sorted({len(own) for own in groups.values()})
        body = []
        for (first, method), own in groups.items():
            final = [[row["task_accuracy_percent"][k] for row in own] for k in range(count)]
            means = [statistics.mean(row["task_accuracy_percent"]) for row in own]
            body.append([TITLES[first], f"{method}, m = {own[0]['m']:g}", *map(_spread, final), f"**{_spread(means)}**",
                         f"{statistics.mean(row['processor_s'] for row in own):.0f} s"])
        seeds = " to ".join(map(str, dict.fromkeys((seeds[0], seeds[-1]))))
        text += [f"### {TITLES[sequence]}\n\n",
                 f"Right test images in percent when all {count} tasks have been learned, hidden layers of "
                 f"{' and '.join(map(str, some['hidden']))}, {some['epochs'] // count} epochs for each task, seeds: {seeds}.\n\n",
                 _lines(["first layer", "training", *(f"task {k}" for k in range(count)), "mean", "time"], body),
                 f"\n![accuracy of every task after every epoch](continual-{sequence}.svg)\n\n"]
    return "".join(text).rstrip("\n") + "\n" + _exactness(rows)


def picture(groups):
    """SVG: a panel for each first layer and training, a curve for each task; seeds are averaged."""
    firsts = list(dict.fromkeys(first for first, _ in groups))
    methods = list(dict.fromkeys(method for _, method in groups))
    figure = Figure(figsize=(4.2 * len(methods) + 0.8, 2.6 * len(firsts) + 0.4), layout="constrained")
    FigureCanvasSVG(figure)
    panels = figure.subplots(len(firsts), len(methods), sharex=True, sharey=True, squeeze=False)
    for line, first in zip(panels, firsts, strict=True):
        for panel, method in zip(line, methods, strict=True):
            rows = groups.get((first, method), [])
            for task in range(len(rows[0]["curves_percent"]) if rows else 0):
                curves = [row["curves_percent"][task] for row in rows]
                points = [(epoch, statistics.mean(values)) for epoch, values in enumerate(zip(*curves, strict=True), 1)
                          if values[0] is not None]
                panel.plot(*zip(*points, strict=True), "o-", markersize=2.5, label=f"task {task}")
            panel.set(title=f"{TITLES[first]}, {method}", ylim=(0, 100))
            panel.grid(alpha=0.3)
        line[0].set_ylabel("right test images in %")
    for panel in panels[-1]:
        panel.set_xlabel("epoch")
    panels[0][-1].legend(fontsize="small", loc="lower left")      # beside the curves that stay high
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "bnnhw"}):     # the same file every time
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def write(rows):
    """Put tables and pictures into the page."""
    insert(DOCS / "continual.md", "continual.py", table(rows))
    for sequence, groups in _groups(rows).items():
        atomic_write(DOCS / f"continual-{sequence}.svg", picture(groups))
