"""Table and picture of benchmarks/methods.py, in docs/recipes.md and docs/methods.svg."""

import io
import statistics
import sys
from pathlib import Path

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from bnnhw.files import atomic_write

__all__ = ["BEGIN", "END", "summary", "table", "write"]

DOCS = Path(__file__).parent.parent / "docs"
BEGIN, END = "<!-- methods: python benchmarks/methods.py --write -->\n", "<!-- end of methods -->\n"
TWIN = "float-twin"
OTHERS = ("binaryconnect", "bi-real-net")     # than networks of signs with the twin's layers
COLUMNS = [(dataset, network) for network in ("mlp", "cnn") for dataset in ("mnist", "fashion-mnist")]
TITLES = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST", "mlp": "MLP", "cnn": "CNN"}


def summary(rows):
    """{(dataset, network): {method: its rows}}, in the order in which they were measured."""
    found = {}
    for row in rows:
        found.setdefault((row["dataset"], row["network"]), {}).setdefault(row["method"], []).append(row)
    return found


def _mean(rows, key):
    return statistics.mean(row[key] for row in rows)


def _cell(rows):
    """Accuracy: mean, and how far the seeds are apart."""
    if not rows:
        return "-"
    values = [row["test_accuracy_percent"] for row in rows]
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{spread}"


def _seeds(own):
    """How many seeds a method has in each of the columns that it has: one number, or the least and the most."""
    counts = sorted({len(runs) for runs in own})
    return f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _times_as_long(method, found, columns):
    """Median of the processor time as a multiple of binarynet's of the same network, data and seed, or None.

    Multiples, because rows are measured hours apart, on machines that do other things too.
    """
    base = {(column, row["seed"]): row["processor_s"] for column in columns for row in found[column].get("binarynet", [])}
    runs = [(row["processor_s"], base.get((column, row["seed"]))) for column in columns for row in found[column].get(method, [])]
    multiples = [seconds / own for seconds, own in runs if own]
    return statistics.median(multiples) if multiples else None


def _seconds(found, columns):
    """What binarynet takes, in words."""
    times = [f"{statistics.median(row['processor_s'] for row in runs):.0f} s ({TITLES[column[0]]}, {TITLES[column[1]]})"
             for column in columns if (runs := found[column].get("binarynet"))]
    return f"; binarynet takes {', '.join(times)}" if times else ""


def _lines(header, body):
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in (header, ["---"] * len(header), *body))


def table(rows):
    """The Markdown between the markers."""
    if not rows:
        return "The table has not been measured yet: `python benchmarks/methods.py` takes hours.\n"
    found = summary(rows)
    columns = [column for column in COLUMNS if column in found]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    body = []
    for method in methods:
        own = [found[column][method] for column in columns if method in found[column]]
        flips = "-" if method == TWIN else f"{_mean(own[0], 'flips_last_epoch_percent'):.2f} %"
        time = _times_as_long(method, found, columns)
        cells = [_cell(found[column].get(method, [])) for column in columns]
        body.append([method, _seeds(own), *cells, "-" if time is None else f"{time:.2f}", flips])
    epochs = {row["network"]: row["epochs"] for row in rows}
    exact = [row for row in rows if row["method"] != TWIN]
    simulated = [row for row in exact if row["verilog_images"]]
    text = ["Right test images in percent, mean ± standard deviation over the seeds; "
            + ", ".join(f"{TITLES[network]} {count} epochs" for network, count in epochs.items())
            + ". Time: processor time of the training as a multiple of binarynet's of the same network, data and seed, the "
            "median of all" + _seconds(found, columns) + ". Flips: the share of the weights whose sign changes in the last "
            "epoch, of the first column in which the method stands.\n\n",
            _lines(["method", "seeds", *(f"{TITLES[dataset]}, {TITLES[network]}" for dataset, network in columns), "time",
                    "flips"], body),
            f"\nOf {len(exact)} exported networks, {sum(row['differing_decisions'] for row in exact)} of "
            f"{sum(row['compared_images'] for row in exact):,} decisions and "
            f"{sum(row['differing_hidden_values'] for row in exact)} hidden values differ between trained and golden model, and "
            f"{sum(row['verilog_mismatches'] for row in simulated)} of "
            f"{sum(row['verilog_images'] for row in simulated):,} images "
            f"between golden model and generated Verilog, of {len(simulated)} of them.\n"]
    gaps = [_gap(column, found[column]) for column in columns if {TWIN, "binarynet"} <= found[column].keys()]
    if gaps:
        text += ["\nThe two claims of the literature. What one bit costs, and files. \"Best\" is the best of these rows, so that "
                 "the test set has chosen it, and its gap is a little too small:\n\n",
                 _lines(["network", "float twin", "binarynet", "best of one bit", "gap of binarynet", "gap of the best",
                         "float32 weights", "weights in the .bnn", "times smaller", "whole .bnn"], gaps)]
    text.append("\n![accuracy of every method, a dot for each seed](methods.svg)\n")
    return "".join(text)


def _gap(column, runs):
    """Accuracy in points, sizes in bytes; the best is of signs and of the twin's layers."""
    means = {method: _mean(own, "test_accuracy_percent") for method, own in runs.items() if not method.startswith(OTHERS)}
    twin = means.pop(TWIN)
    best = max(means, key=means.get)
    bytes_, own = runs[TWIN][0]["float32_weights_bytes"], runs["binarynet"][0]
    return [f"{TITLES[column[0]]}, {TITLES[column[1]]}", f"{twin:.2f} %", f"{means['binarynet']:.2f} %",
            f"{means[best]:.2f} % ({best})", f"{twin - means['binarynet']:.2f}", f"{twin - means[best]:.2f}", f"{bytes_:,} bytes",
            f"{own['packed_weights_bytes']:,} bytes", f"{bytes_ / own['packed_weights_bytes']:.1f}",
            f"{own['file_bytes']:,} bytes"]


def picture(rows):
    """SVG: each seed a dot, one panel for each data set and network."""
    found = summary(rows)
    columns = [column for column in COLUMNS if column in found]
    methods = list(dict.fromkeys(row["method"] for row in rows))[::-1]
    figure = Figure(figsize=(3 * len(columns) + 2, 5), layout="constrained")
    FigureCanvasSVG(figure)
    panels = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for panel, column in zip(panels, columns, strict=True):
        for place, method in enumerate(methods):
            values = [row["test_accuracy_percent"] for row in found[column].get(method, [])]
            panel.plot(values, [place] * len(values), "o", markersize=4, alpha=0.7, color="C1" if method == TWIN else "C0")
        panel.set(title=f"{TITLES[column[0]]}, {TITLES[column[1]]}", xlabel="right test images in %", yticks=range(len(methods)),
                  yticklabels=methods)
        panel.grid(alpha=0.3)
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "methods"}):
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def write(rows):
    """Put both into the documentation."""
    page = DOCS / "recipes.md"
    if not rows:
        sys.exit("there are no results yet: python benchmarks/methods.py measures them")
    before, rest = page.read_text().split(BEGIN)
    atomic_write(page, before + BEGIN + "\n" + table(rows) + "\n" + END + rest.split(END)[1])
    atomic_write(DOCS / "methods.svg", picture(rows))
