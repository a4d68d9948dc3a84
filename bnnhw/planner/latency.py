"""Latency: a bound that is a sum over the stages, and the least area within it.

Stages in front of the first dense layer pass an image on while it comes in. Where none of them takes more than P cycles for it,
its last word leaves them at most P cycles, and for every window buffer the part of P in which it is filled, after the first word
came. A dense layer gives its last result, at most, as many cycles after its last input as it takes for an image; so does what
ends the graph. Every stage and the converter in front of it hold a word for a few cycles. So the latency is at most

    P * (1 + filling) + sum of the dense layers' cycles + :data:`PASSING` * stages

which P fixes but for the sum; the search takes that as a third resource. Of all P the least area is taken.
"""

import math
from dataclasses import replace

from ..stages.base import ElementwiseStage
from ..stages.windowed import WindowStage
from .search import Front, Problem, Step
from .tables import lag

__all__ = ["least_area"]

PASSING = 6         # cycles that a word takes through a stage and a converter: registers and slices
STEPS = 200         # units in which delays are counted, rounded up, where they are more cycles than this


def least_area(problem, stages, limits, cycles):
    """The :class:`~.search.Design` of the least area within ``limits`` whose latency is at most ``cycles``, or None."""
    passing = {stage.name for stage in stages if isinstance(stage, (ElementwiseStage, WindowStage))}
    filling = 1 + sum(map(lag, stages))
    rest = cycles - PASSING * len(stages)
    paces = sorted({choice.cycles for step in problem.steps if step.name in passing for choice in step.choices}, reverse=True)
    best, area = None, math.inf
    for pace in paces:
        left = rest - math.ceil(pace * filling)
        unit = max(1, -(-left // STEPS))
        capped = _capped(problem, passing, pace, unit)
        if left < 1 or capped is None:
            continue
        # Without a limit to the delay it takes no more area, and a smaller pace takes no less.
        least = Front(capped, math.inf, limits.brams).best(limits)
        if least is None or limits.area(least.luts, least.brams) >= area:
            break
        found = Front(capped, math.inf, limits.brams, left // unit).best(limits)
        if found and limits.area(found.luts, found.brams) < area:
            best, area = found, limits.area(found.luts, found.brams)
    return best


def _capped(problem, passing, pace, unit):
    """``problem`` with passing stages that take no more than ``pace`` cycles, the others' cycles as delay in units of ``unit``;
    None where a stage has no choice left."""
    steps = []
    for step in problem.steps:
        if step.name in passing:
            own = tuple(choice for choice in step.choices if choice.cycles <= pace)
        else:
            own = tuple(replace(choice, delay=-(-choice.cycles // unit)) for choice in step.choices)
        if not own:
            return None
        steps.append(Step(step.name, step.sources, own))
    return Problem(steps, problem.convert, problem.fork, problem.around)
