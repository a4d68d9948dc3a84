"""Where the parts of the drawing of a network stand: boxes, the streams between them, branches at the side."""

from . import words

__all__ = ["drawing"]

# Units are those of the SVG's view box; on the page one is about a pixel.
LEFT, BOX, HEIGHT, GAP = 4, 300, 50, 34
RAIL = 30           # x of the streams from box to box, from LEFT
LANE = 20           # between branches beside each other
MARGIN = 18         # right of the last one, for its text
END = 28            # height of the input's and the result's box
TEXT = 42           # letters of a name, of a line, at most


def shortened(text, most=TEXT):
    return text if len(text) <= most else text[:most - 1] + "…"


def _branches(stages):
    """(source, taker) of every stream that does not go to the next stage; indices."""
    place = {stage.name: index for index, stage in enumerate(stages)}
    return [(place[source], index) for index, stage in enumerate(stages) for source in dict.fromkeys(stage.sources)
            if place[source] != index - 1]


def _lanes(branches):
    """{branch: number of its lane}, such that branches in one lane do not meet."""
    ends, found = [], {}
    for start, end in sorted(branches):
        lane = next((k for k, last in enumerate(ends) if last <= start), len(ends))
        ends[lane:lane + 1] = [end]
        found[start, end] = lane
    return found


def _caption(shape, values, bits):
    return " · ".join([words.shape_of(shape), *([values] if values else []), f"{bits} bit" + "s" * (bits > 1)])


def drawing(plan, limit):
    """The plain values that the template ``network.svg`` draws.

    Parameters
    ----------
    plan : Plan
    limit : int
        Cycles from which on a stage is marked as the slowest.

    Returns
    -------
    dict
        ``width``, ``height`` and other sizes; ``boxes``, of stages: ``y``, ``name``, ``short``, ``kind``, ``folding`` and,
        shortened, ``line``, ``cycles``, ``share`` of the most, ``slowest``, ``joins`` (whether two streams meet); ``ends``, of
        the input and the result: ``y``, ``text``; ``streams``, from box to box: ``y``, ``end``, ``text``; ``branches``, beside
        the boxes: ``x``, ``y``, ``end``, ``middle``, ``text``.
    """
    network, stages = plan.network, plan.stages
    pitch = HEIGHT + GAP
    tops = [END + GAP + index * pitch for index in range(len(stages))]
    cycles_of = [stage.cycles(plan.options[stage.name]) for stage in stages]
    most = max(cycles_of)
    boxes = [{
        "y": y, "name": stage.name, "short": shortened(stage.name, TEXT - 9 - len(words.kind(stage))),
        "kind": words.kind(stage), "joins": len(stage.sources) > 1,
        "folding": words.folding(stage, plan.options[stage.name]), "cycles": cycles, "share": cycles / most,
        "slowest": cycles >= limit,
    } for stage, y, cycles in zip(stages, tops, cycles_of, strict=True)]
    for box in boxes:
        box["line"] = shortened(box["folding"])

    source = network.types[network.inputs[0]]
    bottom = tops[-1] + pitch
    streams = [{"y": END, "end": tops[0], "text": _caption(source.shape, words.values(source), source.bits)}]
    streams += [{"y": y + HEIGHT, "end": y + pitch,
                 "text": _caption(*words.tensor(stage, network.types), stage.bits_out) if stage is not stages[-1] else ""}
                for stage, y in zip(stages, tops, strict=True)]
    result = network.types[network.outputs[0]]
    ends = [{"y": 0, "text": f"input {network.inputs[0]}"}, {"y": bottom, "text": (
        f"{plan.result_beats - 1} scores and the class, 0 … {result.hi}" if plan.scores else f"the class, 0 … {result.hi}")}]

    lanes = _lanes(_branches(stages))
    branches = []
    for (start, end), lane in lanes.items():
        depth = plan.fifos.get(f"{stages[start].name}_to_{stages[end].name}")
        y, stop = tops[start] + HEIGHT - 14, tops[end] + 14
        branches.append({"x": LEFT + BOX + LANE * (lane + 1), "y": y, "end": stop, "middle": (y + stop) / 2,
                         "text": f"branch, buffer: {depth:,} words" if depth else "branch"})
    # A straight stream enters every box but those that are fed from the side alone.
    fed = [any(stages[index - 1].name == name for name in stage.sources) for index, stage in enumerate(stages)]
    streams = [stream for index, stream in enumerate(streams) if index in (0, len(stages)) or fed[index]]
    return {"width": LEFT + BOX + LANE * (max(lanes.values(), default=-1) + 1) + MARGIN, "height": bottom + END + 2, "left": LEFT,
            "box": BOX, "tall": HEIGHT, "end": END, "rail": LEFT + RAIL, "boxes": boxes, "ends": ends, "streams": streams,
            "branches": branches}
