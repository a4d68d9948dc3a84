"""The planner beside a greedy divisor search, on every shipped network and FINN's CNV, for every board: images per second.

    python benchmarks/planner.py             all rows: minutes, needs no tools
    python benchmarks/planner.py --write     writes the table of docs/planner.md

The greedy search is FINN's manner of folding: it begins with PE = SIMD = 1 in every layer, one lane in every other stage, weights
in block RAM where they are more than 1,024 bits, and takes the slowest stage, again and again, to its next divisor, SIMD first,
then PE, until that does not fit or cannot be. Both have the same stages, options, estimates, limits and clocks (those of the
boards); greedy has no unfolded layers, no choice of memory and no lanes that do not divide. Nothing is synthesized: how far
estimates are from routed designs is in docs/estimates.md. ``ratio`` is the planner's images per second over greedy's; where
greedy does not fit, greedy's are 0 and ``ratio`` is null. Seconds are processor time of the search.
"""

import json
import time

import cnv
from page import run_or_write
from table import RESULTS, publish, versions

from bnnhw import boards, devices, models
from bnnhw.gateware.weights import style_for
from bnnhw.lower import lower
from bnnhw.plan import PlanError
from bnnhw.planner.goals import Planner, has_estimates

CNV = "finn-cnv"
FILE = RESULTS / "planner.json"


def lanes(choice):
    """How parallel a choice is: (PE or lanes, SIMD)."""
    options = choice.options
    return getattr(options, "pe", getattr(options, "lanes", 1)), getattr(options, "simd", 1)


def folded(stage, choices):
    """The choices that greedy knows: {(PE, SIMD): choice}; only divisors, whose words are as wide as the lanes."""
    known = {}
    for choice in choices:
        memory, (pe, simd) = getattr(choice.options, "memory", None), lanes(choice)
        if hasattr(choice.options, "simd") and (choice.give, choice.want) != (pe, simd):
            continue
        if getattr(choice.options, "style", "") != "unfolded" and (memory is None or memory == style_for(stage.weights.size)):
            known[lanes(choice)] = choice
    return known


def step(known, now):
    """The next more parallel choice: more SIMD, or with all of it more PE; None where there is none."""
    pe, simd = lanes(now)
    wider = sorted(other for other in known if other[0] == pe and other[1] > simd)
    taller = sorted(other for other in known if other[0] > pe and other[1] >= simd)
    return known[(wider or taller)[0]] if wider or taller else None


def greedy(planner):
    """Cycles per image of the greedy search's design, or None where it does not even fit with PE = SIMD = 1."""
    problem, limits = planner.problem, planner.limits[0]
    known = {stage.name: folded(stage, step.choices) for stage, step in zip(planner.stages, problem.steps, strict=True)}
    chosen = {name: min(own.items())[1] for name, own in known.items()}

    def fits(chosen, limits):
        luts, brams = problem.cost(chosen)
        return luts <= limits.luts and brams <= limits.brams
    if not fits(chosen, limits):
        return max(choice.cycles for choice in chosen.values()) if fits(chosen, planner.limits[-1]) else None
    while True:
        slowest = max(chosen, key=lambda name: chosen[name].cycles)
        following = step(known[slowest], chosen[slowest])
        if following is None or not fits(chosen | {slowest: following}, limits):
            return chosen[slowest].cycles
        chosen[slowest] = following


def row(name, stages, board):
    device, clock_hz = devices.find(board.device), int(board.clock(board, board.clock_hz))
    planner = Planner(stages, device, clock_hz, board, fabric=device.family)
    found = {"network": name, "board": board.name, "device": device.name, "clock_mhz": clock_hz / 1e6}
    start = time.process_time()
    try:
        design = planner.fastest()
    except PlanError:
        assert greedy(planner) is None, (name, board.name)
        none = dict.fromkeys(("planner_images_per_s", "greedy_images_per_s", "ratio", "cycles_per_image", "cells", "block_rams"))
        return found | {"fits": "no"} | none | {"search_s": round(time.process_time() - start, 2)}
    seconds, cycles = time.process_time() - start, greedy(planner)
    assert cycles is None or design.interval <= cycles, (name, board.name, design.interval, cycles)
    return found | {"fits": "yes", "planner_images_per_s": round(clock_hz / design.interval),
                    "greedy_images_per_s": round(clock_hz / cycles) if cycles else 0,
                    "ratio": round(cycles / design.interval, 2) if cycles else None, "cycles_per_image": design.interval,
                    "cells": design.luts, "block_rams": design.brams, "search_s": round(seconds, 2)}


def matrix(rows):
    """The table of docs/planner.md: networks by boards, those that differ in nothing in one column."""
    columns = {}
    for board in dict.fromkeys(row["board"] for row in rows):
        own = [row for row in rows if row["board"] == board]
        columns.setdefault(tuple((row["planner_images_per_s"], row["ratio"]) for row in own), []).append(board)
    lines = [["network", *(", ".join(names) for names in columns.values())], ["---"] + ["---:"] * len(columns)]
    for k, network in enumerate(dict.fromkeys(row["network"] for row in rows)):
        cells = [(own[k][0], f"{own[k][1]:.2f}" if own[k][1] else "alone") for own in columns]
        lines.append([network, *("-" if rate is None else f"{rate:,} ({ratio})" for rate, ratio in cells)])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def rows_of(name):
    """A network's rows, one for each board of a device that has estimates."""
    stages = lower(cnv.cnv() if name == CNV else models.load(name).network)
    return [row(name, stages, board) for board in boards.BOARDS.values() if has_estimates(devices.find(board.device))]


def run():
    publish("planner", [row for name in (*models.names(), CNV) for row in rows_of(name)], versions())


if __name__ == "__main__":
    run_or_write(__doc__, "planner.md", "planner.py", lambda: matrix(json.loads(FILE.read_text())["rows"]), run)
