"""How deep buffers must be: those of windows and vectors in stages, those of branches behind forks.

A fork gives its words to several branches, which meet again in a sum. Where one branch takes longer than the other, words
wait in the buffer of the other. Two depths matter, for all buffers:

- ``live``: the least with which every frame comes through. With one word less, nothing moves any more.
- ``rate``: enough for frames to follow each other as quickly as the busiest stage allows; of branches the least such depth.

Timing does not depend on data or on stalls outside, so neither does a deadlock: a depth that is live in one run is live in all.
Depths of branches are found by running the plan's timing, branch by branch, those before at their depths, those behind as
good as unlimited: no single one can be smaller.
"""

import dataclasses

import numpy as np

from . import schedule
from .plan import PlanError
from .stages import BufferOptions

__all__ = ["KINDS", "with_buffers"]

KINDS = ("rate", "live")
GROWTHS = (2, 4)            # by which stages' buffers are tried larger
UNLIMITED_FRAMES = 4        # frames that an unlimited buffer holds: more than ever are on their way between fork and sum
MORE_FRAMES = 6             # beyond those on their way, in which buffers are looked at


def _period(plan):
    """Cycles per frame, a fraction, or None where it gets stuck."""
    try:
        return schedule.period(plan.framed, plan.beats, plan.result_beats)
    except schedule.Stuck:
        return None


def _peaks(plan, frames):
    """The most words that each branch's buffer holds in a run: with so many it makes no difference how many more it could."""
    forks = [element for element in plan.elements if len(element.streams) > 1]
    watch = {name for element in forks for name in (*element.sources, *element.streams)}
    times = schedule.run(plan.framed, plan.beats, plan.result_beats, frames, watch).streams
    peaks = {}
    for element in forks:
        came = np.array(times[element.sources[0]])
        for stream in element.streams:
            peaks[stream] = int((np.arange(1, len(came) + 1) - np.searchsorted(times[stream], came)).max())
    return peaks


def _least(works, most):
    """The least depth up to ``most``, which works, for which ``works``."""
    if works(0):
        return 0
    low, high = 0, most         # low fails
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high


def _busiest(plan):
    """Cycles per frame of the busiest element."""
    return max(max(e.words_in, e.words_out, e.stage.cycles(plan.options[e.name]) if e.stage else 0) for e in plan.shape)


def _with_depths(plan, kind, growth=1):
    """``plan`` with depths of its stages' own buffers, where their options leave them open."""
    period, options = _busiest(plan), dict(plan.options)
    for stage in plan.stages:
        own = options[stage.name]
        if isinstance(own, BufferOptions) and own.depth is None:
            depth = stage.live(own) if kind == "live" else growth * stage.rate(own, period)
            options[stage.name] = own.model_copy(update={"depth": depth})
    return dataclasses.replace(plan, options=options, buffers=kind)


def with_buffers(plan, kind="rate"):
    """``plan`` with buffers that are ``"rate"`` or ``"live"``: those of stages whose options leave them open, all of branches.

    Where stages' buffers for an even pace do not keep up with what the stages in front of them really do, they become larger.

    Raises
    ------
    PlanError
        ``kind`` is neither, or no depth would do (:attr:`~bnnhw.plan.Plan.schedule`).
    """
    if kind not in KINDS:
        raise PlanError(f"buffers must be one of {list(KINDS)}, not {kind!r}")
    unlimited = {stream: UNLIMITED_FRAMES * words for stream, words in plan.branches.items()}
    found = dataclasses.replace(_with_depths(plan, kind), fifos=unlimited)
    if kind == "rate":
        for growth in GROWTHS:
            if found.schedule.interval == _busiest(plan):
                break
            larger = dataclasses.replace(_with_depths(plan, kind, growth), fifos=unlimited)
            if larger.schedule.interval < found.schedule.interval:
                found = larger
    if not unlimited:
        return found
    best = _period(found)
    fifos = _peaks(found, found.schedule.frames + MORE_FRAMES)
    for stream, most in list(fifos.items()):
        def works(depth, stream=stream):
            period = _period(dataclasses.replace(found, fifos=fifos | {stream: depth}))
            return period is not None and (kind == "live" or period == best)
        fifos[stream] = _least(works, most)
    return dataclasses.replace(found, fifos=fifos)
