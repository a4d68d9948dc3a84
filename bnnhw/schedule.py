"""Runs the timing models of a graph of elements: when each stream passes its words on, to the cycle."""

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

__all__ = ["Stuck", "Run", "run", "Schedule", "period", "schedule"]

CONSTANT = ("needs", "frees", "sizes")   # what models have that never changes and is long
MOST_FRAMES = 64            # in which states are compared
FRAMES_TO_SETTLE = 3        # frames beyond those on their way, after which the interval has settled


class Stuck(RuntimeError):
    """Nothing moves any more although words are missing.

    Attributes
    ----------
    streams : dict name -> (valid, ready)
    """
    def __init__(self, message, streams):
        self.streams = streams
        super().__init__(message)


@dataclass(frozen=True)
class Run:
    """Cycles of transfers: ``accepted`` at the input, ``given`` at the output, ``streams`` by name for those watched."""
    accepted: list
    given: list
    streams: dict


class _End:
    """What offers at the input, what takes at the output."""
    def __init__(self):
        self.valid = self.ready = True


def run(elements, words_in, words_out, frames, watch=(), at_end=None):
    """Let ``frames`` frames through a graph, with a source that always offers and a sink that always takes.

    Parameters
    ----------
    elements : list of :class:`bnnhw.plan.Element`
        The first takes the input; the stream that no element takes is the output.
    words_in, words_out : int
        Words of a frame at the two ends.
    frames : int or math.inf
    watch : collection of str
        Streams whose transfers are wanted.
    at_end : callable (list of models, cycle, words accepted), optional
        Called at the end of each frame; the run ends where it gives True.

    Returns
    -------
    Run

    Raises
    ------
    Stuck
    """
    source, sink = _End(), _End()
    source.valid = False        # in the first cycle after reset
    models = [element.timing() for element in elements]
    producer, consumer = {None: source}, {}
    for element, model in zip(elements, models, strict=True):
        outs = model.branches if len(element.streams) > 1 else [getattr(model, "slice", model)]
        ins = model.inputs if len(element.sources) > 1 else [model]
        producer |= dict(zip(element.streams, outs, strict=True))
        consumer |= dict(zip(element.sources, ins, strict=True))
    names = [None, *(stream for element in elements for stream in element.streams)]
    last, = (name for name in names if name not in consumer)
    consumer[last] = sink
    pairs = [(producer[name], consumer[name]) for name in names]
    place = {name: index for index, name in enumerate(names)}
    single, several = [], []
    for element, model in zip(elements, models, strict=True):
        pushes, pops = ([place[name] for name in side] for side in (element.sources, element.streams))
        if len(pushes) == len(pops) == 1:
            single.append((model, model.step, pushes[0], pops[0]))
        else:
            several.append((model.step, pushes, pops))
    watched = {name: [] for name in watch}
    looks = [(place[name], cycles) for name, cycles in watched.items()]
    accepted, given, out = [], [], place[last]
    for cycle in itertools.count():
        moves = [left.valid and right.ready for left, right in pairs]
        if cycle and True not in moves and all(model.idle for model in models):
            streams = {name: (left.valid, right.ready) for name, (left, right) in zip(names, pairs, strict=True) if name}
            raise Stuck(f"nothing moves in cycle {cycle}; {len(given)} words were given", streams)
        for model, step, push, pop in single:
            pushed, popped = moves[push], moves[pop]
            if pushed or popped or not model.idle:
                step(pushed, popped)
        for step, pushes, pops in several:
            step(*(moves[side[0]] if len(side) == 1 else [moves[k] for k in side] for side in (pushes, pops)))
        for index, cycles in looks:
            if moves[index]:
                cycles.append(cycle)
        if moves[0]:
            accepted.append(cycle)
        source.valid = len(accepted) < frames * words_in
        if moves[out]:
            given.append(cycle)
            if len(given) == frames * words_out or (at_end and len(given) % words_out == 0
                                                    and at_end(models, cycle, len(accepted))):
                return Run(accepted, given, watched)


@dataclass(frozen=True)
class Schedule:
    """What a plan promises.

    Attributes
    ----------
    interval : int
        Cycles between the results of consecutive frames once it has settled, with a source that always offers; where they do
        not settle to one number, their average, rounded up.
    latency : int
        Of a frame in an empty accelerator: cycles from the transfer of its first beat to that of its last result beat, both
        included.
    frames : int
        The most frames on their way until then, enough for the rate.
    steady : bool
        Whether the intervals settle to one number.
    """
    interval: int
    latency: int
    frames: int
    steady: bool


def _state(model):
    """All that a model's future depends on."""
    found = []
    for key, value in vars(model).items():
        if key not in CONSTANT:
            parts = value if isinstance(value, list) else [value]
            found += [_state(part) if hasattr(part, "step") else part for part in parts]
    return tuple(found)


class _Ends:
    """The ends of frames, until the state at one is that at an earlier one: from then on everything repeats."""
    def __init__(self, beats):
        self.beats, self.states = beats, {}
        self.cycles, self.flying, self.first = [], 0, None

    def add(self, models, cycle, accepted):
        """Note the end of a frame; True if the state is that at the end :attr:`first`."""
        state = accepted % self.beats, *map(_state, models)
        self.first = self.states.get(state)
        self.states[state] = len(self.cycles)
        self.flying = max(self.flying, -(-accepted // self.beats) - len(self.cycles))   # begun, less ended before this one
        self.cycles.append(cycle)
        return self.first is not None

    def interval(self, otherwise):
        """(cycles between frames, a fraction; whether all are equal): exact where a state repeats, else from ``otherwise`` on."""
        cycles = self.cycles[otherwise if self.first is None else self.first:]
        steps = {after - before for before, after in itertools.pairwise(cycles)}
        return Fraction(cycles[-1] - cycles[0], len(cycles) - 1), len(steps) == 1


def period(elements, beats, result_beats):
    """The interval between frames, as a fraction: exact, since it is taken between two frames that end in the same state.

    (After :data:`MOST_FRAMES` it is that of the last half, state or not.)

    Raises
    ------
    Stuck
    """
    ends = _Ends(beats)
    run(elements, beats, result_beats, MOST_FRAMES, at_end=ends.add)
    return ends.interval(len(ends.cycles) // 2)[0]


def schedule(elements, beats, result_beats):
    """The :class:`Schedule` of a graph, the AXI4-Stream wrapper with it.

    It is run until a frame ends in the state in which an earlier one ended, or until it has long been as full as it gets.

    Parameters
    ----------
    elements : list of :class:`bnnhw.plan.Element`
    beats, result_beats : int
        Words of a frame at the two ends.

    Raises
    ------
    Stuck
    """
    ends = _Ends(beats)

    def settled(models, cycle, accepted):
        return ends.add(models, cycle, accepted) or len(ends.cycles) > 2 * (ends.flying + FRAMES_TO_SETTLE)
    # What comes later never moves what came before, so that the first frame's latency is that in an empty accelerator.
    found = run(elements, beats, result_beats, math.inf, at_end=settled)
    interval, steady = ends.interval(-FRAMES_TO_SETTLE - 1)
    return Schedule(math.ceil(interval), ends.cycles[0] - found.accepted[0] + 1, ends.flying, steady)
