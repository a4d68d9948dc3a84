"""Plans: the options of every stage, and what follows from them to the cycle."""

import functools
import math
from dataclasses import dataclass

from .errors import UserError
from .gateware.width import DownConverter, UpConverter
from .stages import Stage, timing

__all__ = ["Element", "Plan", "PlanError"]

FRAMES_TO_SETTLE = 3        # frames beyond those on their way, after which the interval has settled


class PlanError(UserError, ValueError):
    """A plan that does not fit the network, or a target that cannot be met."""


@dataclass(frozen=True)
class Element:
    """One component of the chain: a stage, or a width converter in front of one.

    Attributes
    ----------
    name : str
        Of the submodule.
    build : callable () -> Component
    timing : callable () -> timing model
    words_in, words_out : int
        Words per frame.
    stage : Stage or None
    """
    name: str
    build: object
    timing: object
    words_in: int
    words_out: int
    stage: Stage | None = None


def _convert(stage, elements, bits, have, want):
    """Elements that turn words of ``have`` elements into words of ``want``, through their least common multiple."""
    steps, common = [], math.lcm(have, want)
    if common != have:
        ratio = common // have
        steps.append(Element(f"{stage.name}_join", functools.partial(UpConverter, bits, have, ratio),
                             functools.partial(timing.Up, ratio), elements // have, elements // common))
    if common != want:
        ratio = common // want
        steps.append(Element(f"{stage.name}_split", functools.partial(DownConverter, bits, want, ratio),
                             functools.partial(timing.Down, ratio), elements // common, elements // want))
    return steps


@dataclass(frozen=True)
class Plan:
    """How parallel each stage of a network is.

    Attributes
    ----------
    network : Network
    stages : list of Stage
        From :func:`bnnhw.lower.lower`.
    options : dict stage name -> Options
    clock_hz : int
        The clock for which images per second are stated.
    """
    network: object
    stages: list
    options: dict
    clock_hz: int

    @property
    def scores(self):
        """Whether a result carries the scores."""
        return self.stages[-1].kind == "scores"

    @property
    def input_lanes(self):
        """Elements per beat of the input."""
        return self.stages[0].lanes(self.options[self.stages[0].name])[0]

    @property
    def frame_elements(self):
        return self.stages[0].elements_in

    @property
    def element_bytes(self):
        return self.stages[0].bits_in // 8

    @property
    def result_beats(self):
        return self.stages[-1].elements_out

    @property
    def bytes_per_beat(self):
        return self.stages[-1].bytes_per_beat

    @functools.cached_property
    def chain(self):
        """The :class:`Element` list from the input to the result."""
        elements, have = [], self.input_lanes
        for stage in self.stages:
            options = self.options[stage.name]
            want, give = stage.lanes(options)
            elements += _convert(stage, stage.elements_in, stage.bits_in, have, want)
            elements.append(Element(stage.name, functools.partial(stage.build, options),
                                    functools.partial(stage.timing, options),
                                    stage.elements_in // want, stage.elements_out // give, stage))
            have = give
        return elements

    @functools.cached_property
    def schedule(self):
        """(cycles per inference, latency in cycles, frames on their way), of the accelerator at its AXI4-Stream ports.

        The interval is that between results of consecutive frames once it has settled, with a source that always
        offers; the latency that of a frame in an empty accelerator: cycles from the transfer of its first beat to that
        of its last result beat, both included. The frames are the most on their way until the interval has settled,
        enough for the rate.
        """
        beats = self.frame_elements // self.input_lanes
        limit = 100 + 2 * sum(stage.cycles(self.options[stage.name]) for stage in self.stages)

        def cycles(frames):
            # A register slice stands at either end of the wrapper.
            models = [timing.Slice(), *(element.timing() for element in self.chain), timing.Slice()]
            accepted, given = timing.run(models, beats, self.result_beats, frames, limit)
            return accepted[::beats], given[self.result_beats - 1::self.result_beats]
        starts, ends = cycles(1)
        latency = ends[0] - starts[0] + 1
        # Until the last frame is accepted the accelerator is as full as it gets.
        frames = FRAMES_TO_SETTLE + 2
        while True:
            starts, ends = cycles(frames)
            flying = max(sum(s <= end for s in starts) - k for k, end in enumerate(ends))
            if flying + FRAMES_TO_SETTLE < frames:
                return ends[-1] - ends[-2], latency, flying
            frames *= 2

    @property
    def cycles_per_inference(self):
        return self.schedule[0]

    @property
    def latency_cycles(self):
        return self.schedule[1]

    @property
    def core_fps(self):
        """Images per second at :attr:`clock_hz`."""
        return self.clock_hz / self.cycles_per_inference

    @property
    def bottleneck(self):
        """The stage's element with the most cycles per frame."""
        def busy(element):
            own = element.stage.cycles(self.options[element.name]) if element.stage else 0
            return max(own, element.words_in, element.words_out)
        return max((element for element in self.chain if element.stage), key=busy)
