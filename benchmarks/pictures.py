"""The pictures of docs/convolutions.md: what a window buffer holds, and token curves of a branch; drawn from the timing models.

    python benchmarks/pictures.py
"""

import dataclasses
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle

from bnnhw import folding, schedule
from bnnhw.gateware.window import Geometry
from bnnhw.ir import Add, ArgMax, Conv2d, Dense, Flatten, Input, Network, TensorType, Threshold
from bnnhw.lower import lower
from bnnhw.stages.window_timing import live_depth, rate_depth

DOCS = Path(__file__).parent.parent / "docs"
RING = 32                               # words of the memory: the depth rounded up to a power of two
METADATA = {"Date": None}               # the same picture, the same bytes
GREY, BLUE, ORANGE, WHITE = "#d9d9d9", "#9ecae1", "#fd8d3c", "#ffffff"


def save(figure, name):
    FigureCanvasSVG(figure)
    figure.savefig(DOCS / name, format="svg", metadata=METADATA)


def window_buffer():
    """An image of 12 x 8 words while the 3x3 window in row 2, column 4 is read, with the least depth that works."""
    geometry = Geometry((8, 12), 1, (3, 3), (1, 1), (0, 0, 0, 0))
    facts = dict(image=(8, 12), groups=1, kernel=(3, 3), stride=(1, 1), padding=(0, 0, 0, 0), repeats=1)
    row, column, width = 2, 4, 12
    first = geometry.needed(row, column)
    state = np.full(96, 3)
    state[:first] = 0
    state[first:first + live_depth(**facts)] = 1
    state = state.reshape(8, 12)
    state[row:row + 3, column:column + 3] = 2
    figure = Figure(figsize=(6, 4.4), layout="constrained")
    axes = figure.subplots()
    axes.imshow(state, cmap=ListedColormap([GREY, BLUE, ORANGE, WHITE]), vmin=0, vmax=3)
    for number in range(96):
        axes.text(number % width, number // width, number % RING if state.flat[number] in (1, 2) else "", ha="center",
                  va="center", fontsize=7)
    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 3, 3, fill=False, lw=2))
    axes.set_xticks(np.arange(-0.5, 12), [])
    axes.set_yticks(np.arange(-0.5, 8), [])
    axes.grid(color="#777777", lw=0.5)
    axes.tick_params(length=0)
    axes.set_title(f"3x3 windows over 8 rows of 12 words: live {live_depth(**facts)} words, rate {rate_depth(**facts)} words",
                   fontsize=10)
    axes.legend(handles=[Patch(fc=color, ec="#777777", label=text) for color, text in (
        (GREY, "free again"), (BLUE, "held, and its address"), (ORANGE, "window that is read"), (WHITE, "to come"))],
        loc="upper center", bbox_to_anchor=(0.5, -0.02), fontsize=8, frameon=False, ncols=4)
    save(figure, "window-buffer.svg")


def residual():
    """Two convolutions, and a way round them."""
    rng = np.random.default_rng(0)

    def conv(name, source):
        return Conv2d(name, source, rng.choice([-1, 1], (8, 3, 3, 8)), padding=(1, 1, 1, 1))

    def signs(name, source):
        return Threshold(name, source, np.zeros((8, 1)), np.zeros(8))
    return Network([
        Input("x", TensorType((8, 8, 8), 0, 15)), signs("act0", "x"), conv("conv1", "act0"), signs("act1", "conv1"),
        conv("conv2", "act1"), Add("sum", "conv2", "act0"), signs("act2", "sum"), Flatten("flat", "act2"),
        Dense("fc", "flat", rng.choice([-1, 1], (4, 512))), ArgMax("class", "fc"),
    ], "class")


def token_curves():
    """Words of the shortcut that have come and gone, over three frames, for both depths."""
    network = residual()
    figure = Figure(figsize=(7.2, 3.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, kind in zip(panels, ("rate", "live"), strict=True):
        plan = folding.fold(network, lower(network), clock_hz=1_000_000, fps=700, buffers=kind)
        stream = "act0_to_sum"
        fork = next(element.sources[0] for element in plan.elements if stream in element.streams)
        times = schedule.run(plan.framed, plan.beats, plan.result_beats, 3, {fork, stream}).streams
        for name, color, label in ((fork, "#3182bd", "come to the fork"), (stream, "#e6550d", "taken by the sum")):
            axes.step(times[name], np.arange(1, len(times[name]) + 1), where="post", color=color, label=label, lw=1.2)
        axes.set_title(f"{kind}: buffer of {plan.fifos[stream]} words,\n{plan.schedule.interval:,} cycles per frame", fontsize=10)
        axes.set_xlabel("cycle")
        axes.grid(alpha=0.3)
        smaller = dataclasses.replace(plan, fifos=plan.fifos | {stream: plan.fifos[stream] - 1})
        axes.annotate("one word less: " + (f"{smaller.schedule.interval:,} cycles" if kind == "rate" else "deadlock"),
                      (0.97, 0.04), xycoords="axes fraction", ha="right", fontsize=8)
    panels[0].set_ylabel("words of the shortcut")
    panels[0].legend(fontsize=8)
    save(figure, "token-curves.svg")


def main():
    window_buffer()
    token_curves()


if __name__ == "__main__":
    import matplotlib
    matplotlib.rcParams["svg.hashsalt"] = "bnnhw"
    main()
