"""The exact search: for each interval the least logic of every number of block RAMs, by dynamic programming over the stages.

Stages come in topological order. Of what those so far are, nothing matters to the rest of the graph but the lanes of the streams
that are still open: so for each combination of these lanes, and for each number of block RAMs (and of units of delay, where that
is limited) one figure is kept, the fewest cells. Everything is an integer, so that the result is the optimum itself.
"""

import bisect
from dataclasses import dataclass, field

import numpy as np

__all__ = ["Choice", "Design", "Front", "LastLimits", "Limits", "Problem", "Step", "cheapest", "exceeded", "fastest", "unlimited"]

NEVER = np.inf
PRICES = ((1, 0), (1, 1), (1, 3), (1, 10), (0, 1))      # of a device's cells and of its block RAMs


@dataclass(frozen=True)
class Choice:
    """One way to build a stage.

    Attributes
    ----------
    options : object
        The stage's options; the search does not look at them.
    cycles : int
        Per frame in which it is busy.
    want, give : int
        Lanes at its inputs and at its output.
    luts, brams : int
        What it takes.
    delay : int
        What it adds to the latency, in any unit.
    path_ns : float
        Its longest path; of equal costs the shorter one is taken.
    """
    options: object
    cycles: int
    want: int
    give: int
    luts: int
    brams: int
    delay: int = 0
    path_ns: float = 0.0


@dataclass(frozen=True)
class Step:
    """A stage: its name, the names of the stages that it takes its inputs from (none: the network's input), its choices."""
    name: str
    sources: tuple
    choices: tuple


@dataclass(frozen=True)
class Limits:
    """What there is: cells and block RAMs."""
    luts: int
    brams: int

    def area(self, luts, brams):
        """The sum of both shares, times a constant: an integer."""
        return luts * max(1, self.brams) + brams * self.luts

    def crowding(self, luts, brams):
        """The greater of the two shares: above 1 it does not fit."""
        return max(luts / max(1, self.luts), brams / self.brams if self.brams else brams and NEVER)


class LastLimits(Limits):
    """Limits of a design that leaves no margin: cells are saved, for their number is an estimate, that of block RAMs exact."""
    def area(self, luts, brams):
        """Cells first."""
        return luts * (1 + self.brams) + brams


class Problem:
    """Stages, and what stands between them.

    Parameters
    ----------
    steps : list of Step
        In topological order; the last gives the result.
    convert : callable (step name, port, lanes there are, lanes wanted) -> luts
        What width converters in front of a stage take; they have no block RAMs.
    fork : callable (step name, lanes) -> (luts, brams)
        Of what stands behind a stage with several takers.
    around : callable (lanes) -> (luts, brams)
        Of what stands around all stages, by the lanes at the input.
    """
    def __init__(self, steps, convert, fork, around):
        self.steps, self.convert, self.fork, self.around = steps, convert, fork, around
        last = {source: k for k, step in enumerate(steps) for source in step.sources}
        takers = [source for step in steps for source in step.sources]
        self.open = [{step.name for step in steps[:k + 1] if last.get(step.name, 0) > k} for k in range(len(steps))]
        self.forked = {name for name in last if takers.count(name) > 1}
        least = self.least
        self.intervals = sorted({choice.cycles for step in steps for choice in step.choices if choice.cycles >= least})

    @property
    def least(self):
        """The least interval, were there room for everything."""
        return max(min(choice.cycles for choice in step.choices) for step in self.steps)

    def within(self, step, interval, timed=False):
        """The choices of ``step`` that keep up with ``interval``, without those that others beat in everything.

        Returns
        -------
        list of (Choice, luts, brams, delay)
            With what stands beside the stage; without ``timed`` delays are zero.
        """
        kept = {}
        for choice in sorted((choice for choice in step.choices if choice.cycles <= interval),
                             key=lambda choice: (choice.luts, choice.brams, choice.delay * timed, choice.path_ns)):
            equals = kept.setdefault((choice.want, choice.give), [])
            if not any(other.brams <= choice.brams and other.delay * timed <= choice.delay * timed for other in equals):
                equals.append(choice)
        found = []
        for (want, give), equals in kept.items():
            luts, brams = self.beside(step, want, give)
            found += [(choice, choice.luts + luts, choice.brams + brams, choice.delay * timed) for choice in equals]
        return found

    def beside(self, step, want, give):
        """(luts, brams) of what comes with a stage: a fork behind it, at the input what stands around all."""
        parts = ([self.fork(step.name, give)] if step.name in self.forked else []) + ([] if step.sources else [self.around(want)])
        return sum(luts for luts, _ in parts), sum(brams for _, brams in parts)

    def cost(self, chosen):
        """What a design costs, given one :class:`Choice` for each stage's name: (luts, brams)."""
        luts = brams = 0
        for step in self.steps:
            own = chosen[step.name]
            beside = self.beside(step, own.want, own.give)
            luts += own.luts + beside[0] + sum(self.convert(step.name, port, chosen[source].give, own.want)
                                               for port, source in enumerate(step.sources))
            brams += own.brams + beside[1]
        return luts, brams


@dataclass(frozen=True)
class Design:
    """One choice for each stage, and what they and all between them cost."""
    chosen: dict
    luts: int
    brams: int
    delay: int = 0

    @property
    def interval(self):
        return max(choice.cycles for choice in self.chosen.values())


@dataclass
class _Layer:
    """What was known at one stage: costs before it, costs with its inputs converted, its choices."""
    step: Step
    before: dict
    choices: list
    joined: dict = field(default_factory=dict)


class Front:
    """All least designs of a problem at an interval, up to so many block RAMs and so much delay (None: it is not looked at).

    ``least[b, d]`` is the fewest cells of a design with exactly ``b`` block RAMs and delay ``d``, infinite where there is none.
    """
    def __init__(self, problem, interval, brams, delay=None):
        self.problem, self.layers, self.timed = problem, [], delay is not None
        self.size = (brams + 1, (delay or 0) + 1)
        start = self._nothing()
        start[0, 0] = 0
        values = {(): start}
        for step, still in zip(problem.steps, problem.open, strict=True):
            values = self._pass(_Layer(step, values, problem.within(step, interval, self.timed)), still)
        self.least = values.get((), self._nothing())

    def _nothing(self):
        return np.full(self.size, NEVER)

    def _add(self, values, key, value, luts, brams, delay):
        """Lower ``values[key]`` to what ``value`` becomes with these costs."""
        height, width = self.size
        if brams < height and delay < width:
            target = values.setdefault(key, None)
            if target is None:
                target = values[key] = self._nothing()
            part = target[brams:, delay:]
            np.minimum(part, value[:height - brams, :width - delay] + luts, out=part)

    def _pass(self, layer, still):
        """Costs behind a stage."""
        self.layers.append(layer)
        step, after = layer.step, {}
        wants = dict.fromkeys(choice.want for choice, *_ in layer.choices)
        for state, value in layer.before.items():
            rest = tuple(pair for pair in state if pair[0] in still)
            for want in wants:
                self._add(layer.joined, (rest, want), value, self._between(step, state, want), 0, 0)
        for (rest, want), value in layer.joined.items():
            for choice, luts, brams, delay in layer.choices:
                if choice.want == want:
                    key = (*rest, (step.name, choice.give)) if step.name in still else rest
                    self._add(after, key, value, luts, brams, delay)
        return after

    def _between(self, step, state, want):
        """What the converters in front of a stage cost."""
        lanes = dict(state)
        return sum(self.problem.convert(step.name, port, lanes[source], want) for port, source in enumerate(step.sources))

    def best(self, limits, score=None):
        """The :class:`Design` of the least area (or ``score(luts, brams)``) within ``limits``; None where nothing fits.

        ``score`` replaces limits: what exceeds them is taken, too.
        """
        brams, delays = np.nonzero(self.least <= (NEVER if score else limits.luts))
        found = [(self.least[b, d], b, d) for b, d in zip(brams.tolist(), delays.tolist(), strict=True)
                 if self.least[b, d] < NEVER and (score or b <= limits.brams)]
        if not found:
            return None
        score = score or limits.area
        luts, b, d = min(found, key=lambda cost: (score(cost[0], cost[1]), cost))
        return Design(self._trace(b, d), int(luts), b, d)

    def _trace(self, brams, delay):
        """The choices behind one entry of ``least``."""
        chosen, key, value = {}, (), self.least[brams, delay]
        for layer, still in zip(reversed(self.layers), reversed(self.problem.open), strict=True):
            own = layer.step.name in still
            rest, give = (key[:-1], key[-1][1]) if own else (key, None)
            choice, value, brams, delay = next(
                (choice, value - luts, brams - part, delay - late) for choice, luts, part, late in layer.choices
                if give in (None, choice.give)
                and self._was(layer.joined, (rest, choice.want), value - luts, brams - part, delay - late))
            chosen[layer.step.name] = choice
            for state in layer.before:
                less = value - self._between(layer.step, state, choice.want)
                left = tuple(pair for pair in state if pair[0] in still)
                if left == rest and self._was(layer.before, state, less, brams, delay):
                    key, value = state, less
                    break
        return dict(reversed(chosen.items()))

    @staticmethod
    def _was(values, key, value, brams, delay):
        return brams >= 0 and delay >= 0 and key in values and values[key][brams, delay] == value


def exceeded(limits, interval, stages):
    """Whether ``stages``, an iterable of the tuples of each one's choices, take more than ``limits`` at ``interval`` whatever is
    chosen and whatever else there is; False where it takes a search to tell. No more of them are asked for than show it.

    What fits costs at most as much as all there is, at any of :data:`PRICES`; a stage costs at least its cheapest choice.
    """
    room = [cell * limits.luts * max(1, limits.brams) + block * limits.brams * limits.luts for cell, block in PRICES]
    for choices in stages:
        own = [(choice.luts * max(1, limits.brams), choice.brams * limits.luts) for choice in choices
               if choice.cycles <= interval and choice.luts <= limits.luts and choice.brams <= limits.brams]
        room = [left - min((cell * luts + block * brams for luts, brams in own), default=NEVER)
                for left, (cell, block) in zip(room, PRICES, strict=True)]
        if min(room) < 0:
            return True
    return False


def cheapest(problem, limits, interval):
    """The :class:`Design` of the least area within ``limits`` that keeps up with ``interval``; None where there is none."""
    if exceeded(limits, interval, (step.choices for step in problem.steps)):
        return None
    return Front(problem, interval, limits.brams).best(limits)


def fastest(problem, limits):
    """The :class:`Design` of the least interval within ``limits``, and of those of the least area; None where nothing fits.

    What fits at an interval fits at every longer one, so the intervals are searched by halves.
    """
    found, low, high = None, 0, len(problem.intervals)
    while low < high:
        middle = (low + high) // 2
        design = cheapest(problem, limits, problem.intervals[middle])
        if design:
            found, high = design, middle
        else:
            low = middle + 1
    return found


def unlimited(problem, interval, score):
    """The design with the least ``score(luts, brams)`` that keeps up with ``interval``, however much it takes.

    ``score`` grows with both. The best of each stage alone makes some design, so that no better one has more block RAMs than give
    that one's score without any cells.
    """
    choices = {step.name: problem.within(step, interval) for step in problem.steps}
    some = {name: min(own, key=lambda known: score(known[1], known[2]))[0] for name, own in choices.items()}
    bound = score(*problem.cost(some))
    most = bisect.bisect_right(range(sum(max(known[2] for known in own) for own in choices.values())), bound,
                               key=lambda brams: score(0, brams))
    return Front(problem, interval, most).best(None, score)
