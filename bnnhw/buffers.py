"""How deep the buffers of branches must be: computed from when words pass, by running the plan's timing.

A fork gives its words to several branches, which meet again in a sum. Where one branch takes longer than the other, words
wait in the buffer of the other. Two depths matter:

- ``live``: the least with which every frame comes through. With one word less, nothing moves any more.
- ``rate``: the least with which frames follow each other as quickly as with unlimited buffers.

Timing does not depend on data or on stalls outside, so neither does a deadlock: a depth that is live in one run is live in all.
Both are found branch by branch, those before at their depths, those behind unlimited: no single buffer can be smaller.
"""

import dataclasses

from . import schedule
from .plan import PlanError

__all__ = ["KINDS", "with_buffers"]

KINDS = ("rate", "live")
UNLIMITED_FRAMES = 4        # frames that an unlimited buffer holds: more than ever are on their way between fork and sum
FRAMES_LIVE = 4             # frames that must come through: a buffer that overflows does so with the first that is held up


def _interval(plan):
    """Cycles per frame, or None where it gets stuck."""
    try:
        return schedule.schedule(plan.framed, plan.beats, plan.result_beats, plan.patience).interval
    except schedule.Stuck:
        return None


def _comes_through(plan):
    try:
        schedule.run(plan.framed, plan.beats, plan.result_beats, FRAMES_LIVE, plan.patience)
    except schedule.Stuck:
        return False
    return True


def _least(works, most):
    """The least depth up to ``most`` for which ``works``, which holds from some depth on."""
    if works(0):
        return 0
    low, high = 0, 1            # low fails
    while high < most and not works(high):
        low, high = high, 2 * high
    high = min(high, most)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if works(middle) else (middle, high)
    return high


def with_buffers(plan, kind="rate"):
    """``plan`` with the least buffers of its branches that are ``"rate"`` or ``"live"``.

    Raises
    ------
    PlanError
        ``kind`` is neither.
    """
    if kind not in KINDS:
        raise PlanError(f"buffers must be one of {list(KINDS)}, not {kind!r}")
    fifos = {stream: UNLIMITED_FRAMES * words for stream, words in plan.branches.items()}
    best = _interval(dataclasses.replace(plan, fifos=fifos)) if fifos and kind == "rate" else None
    for stream, most in list(fifos.items()):
        def works(depth, stream=stream):
            tried = dataclasses.replace(plan, fifos=fifos | {stream: depth})
            return _comes_through(tried) if kind == "live" else _interval(tried) == best
        fifos[stream] = _least(works, most)
    return dataclasses.replace(plan, fifos=fifos, buffers=kind)
