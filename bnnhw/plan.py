"""Plans: the options of every stage, the buffers of branches, and what follows from them to the cycle."""

import dataclasses
import functools
import math
from dataclasses import dataclass, field

from . import schedule
from .errors import UserError
from .gateware.fork import Fork
from .gateware.width import DownConverter, UpConverter
from .stages import Stage, timing, unit_timing

__all__ = ["Element", "Plan", "PlanError"]


class PlanError(UserError, ValueError):
    """A plan that does not fit the network, or a target that cannot be met."""


@dataclass(frozen=True)
class Element:
    """One component of the graph: a stage, a fork behind one, or a width converter in front of one.

    Attributes
    ----------
    name : str
        Of the submodule.
    sources, streams : tuple of str
        Streams that it takes and gives. A stream has the name of the element that gives it; those of a fork are
        ``STAGE_to_CONSUMER``. The input is None.
    build : callable () -> Component
        With members ``i`` and ``o``, or ``i0, i1, ...`` and ``o0, o1, ...`` where there are several.
    timing : callable () -> timing model
    words_in, words_out : int
        Words per frame of each stream.
    stage : Stage or None
    """
    name: str
    sources: tuple
    streams: tuple
    build: object
    timing: object
    words_in: int
    words_out: int
    stage: Stage | None = None


class _Graph:
    """Puts the elements of a plan together, stage by stage."""
    def __init__(self, plan, fifos):
        self.plan, self.fifos = plan, fifos
        self.elements = []
        self.ends = {}          # (stage, consumer and its port) -> stream that has its words
        for stage in plan.stages:
            self.place(stage)

    def place(self, stage):
        options = self.plan.options[stage.name]
        want, give = stage.lanes(options)
        sources = [self.convert(stage, port, source, want) for port, source in enumerate(stage.sources)] or [None]
        self.elements.append(Element(stage.name, tuple(sources), (stage.name,), functools.partial(stage.build, options),
                                     functools.partial(stage.timing, options), stage.elements_in // want,
                                     stage.elements_out // give, stage))
        self.fork(stage, give)

    def fork(self, stage, give):
        takers = [(consumer.name, port) for consumer in self.plan.stages for port, source in enumerate(consumer.sources)
                  if source == stage.name]
        if len(takers) < 2:
            self.ends |= {(stage.name, *taker): stage.name for taker in takers}
            return
        names = [self.port(name, port) if takers.count((name, 1 - port)) else name for name, port in takers]
        streams = [f"{stage.name}_to_{name}" for name in names]
        depths = tuple(self.fifos[stream] for stream in streams)
        words = stage.elements_out // give
        self.elements.append(Element(f"{stage.name}_fork", (stage.name,), tuple(streams),
                                     functools.partial(Fork, give * stage.bits_out, depths),
                                     functools.partial(unit_timing.Fork, depths), words, words))
        self.ends |= {(stage.name, *taker): stream for taker, stream in zip(takers, streams, strict=True)}

    def port(self, name, port):
        """What a port of a stage with several is called in names of elements and streams: as no stage is."""
        found = f"{name}_{port}"
        while any(stage.name == found for stage in self.plan.stages):
            found += "_"
        return found

    def convert(self, stage, port, source, want):
        """The stream of ``source``'s words in words of ``want`` elements, through their least common multiple."""
        stream, have = self.ends[source, stage.name, port], self.plan.lanes_out(source)
        bits, elements = stage.bits(port), stage.elements_in
        name = stage.name if len(stage.sources) == 1 else self.port(stage.name, port)
        common = math.lcm(have, want)
        for kind, model, end, lanes, ratio, before, after in (
                (UpConverter, timing.Up, "join", have, common // have, have, common),
                (DownConverter, timing.Down, "split", want, common // want, common, want)):
            if ratio == 1:
                continue
            self.elements.append(Element(f"{name}_{end}", (stream,), (f"{name}_{end}",),
                                         functools.partial(kind, bits, lanes, ratio), functools.partial(model, ratio),
                                         elements // before, elements // after))
            stream = f"{name}_{end}"
        return stream


class _AnyDepth(dict):
    """Depths of buffers, zero where none is known."""
    def __missing__(self, stream):
        return 0


@dataclass(frozen=True)
class Plan:
    """How parallel each stage of a network is, and how deep the buffers of its branches.

    Attributes
    ----------
    network : Network
    stages : list of Stage
        From :func:`bnnhw.lower.lower`, in topological order.
    options : dict stage name -> Options
    clock_hz : int
        The clock for which images per second are stated.
    fifos : dict stream -> int
        Words that each branch of a fork can hold besides two in a register slice or one at a memory's output; see
        :mod:`bnnhw.buffers`.
    buffers : str
        What these depths are: ``"rate"`` or ``"live"``.
    """
    network: object
    stages: list
    options: dict
    clock_hz: int
    fifos: dict = field(default_factory=dict)
    buffers: str = "rate"

    @property
    def scores(self):
        """Whether a result carries the scores."""
        return self.stages[-1].kind == "scores"

    @property
    def result(self):
        """What a result is, in a plan's file and in reports: ``"scores"`` (the class with them) or ``"class"``."""
        return "scores" if self.scores else "class"

    @property
    def tasks(self):
        """How many tasks the hardware knows: with more than one each frame comes with its number."""
        return max(stage.tasks for stage in self.stages)

    def lanes_out(self, name):
        """Elements per word at the output of stage ``name``."""
        stage = next(stage for stage in self.stages if stage.name == name)
        return stage.lanes(self.options[name])[1]

    @property
    def input_lanes(self):
        """Elements per beat of the input."""
        return self.stages[0].lanes(self.options[self.stages[0].name])[0]

    @property
    def frame_elements(self):
        return self.stages[0].elements_in

    @property
    def element_bytes(self):
        return self.stages[0].bits(0) // 8

    @property
    def result_beats(self):
        return self.stages[-1].elements_out

    @property
    def bytes_per_beat(self):
        return self.stages[-1].bytes_per_beat

    @functools.cached_property
    def elements(self):
        """The :class:`Element` list, every element behind those whose streams it takes."""
        return _Graph(self, self.fifos).elements

    @functools.cached_property
    def shape(self):
        """As :attr:`elements`, with buffers of branches that do not matter."""
        return _Graph(self, _AnyDepth()).elements

    @functools.cached_property
    def branches(self):
        """{stream of a fork: its words per frame}."""
        return {stream: element.words_out for element in self.shape if len(element.streams) > 1 for stream in element.streams}

    @functools.cached_property
    def schedule(self):
        """The :class:`~bnnhw.schedule.Schedule` of the accelerator at its AXI4-Stream ports.

        Raises
        ------
        PlanError
            A buffer of a branch is so small that nothing moves any more; or the network looks at so little of a frame at a time
            that its scores begin before the frame's end.
        """
        try:
            return schedule.schedule(self.framed, self.beats, self.result_beats)
        except schedule.Stuck as stuck:
            full = [stream for stream in self.branches if stuck.streams[stream] == (True, False)]
            if not full:
                raise PlanError("deadlock: the scores of an image begin before all of it was taken, and wait for that: only the "
                                "class can be given") from None
            depths = ", ".join(f"{stream!r} with {self.fifos[stream]} words" for stream in full)
            raise PlanError(f"deadlock: the buffer {depths} is full, and what would empty it waits for another branch: "
                            "make it deeper") from None

    @property
    def beats(self):
        """Beats of a frame at the input."""
        return self.frame_elements // self.input_lanes

    @property
    def framed(self):
        """The elements with the AXI4-Stream wrapper around them, which is the first."""
        first, *rest = self.elements
        around = Element("axi_stream", (None, self.stages[-1].name), ("s_axis", "m_axis"), None,
                         functools.partial(unit_timing.AxiStream, self.beats, self.result_beats), self.beats, self.result_beats)
        return [around, dataclasses.replace(first, sources=("s_axis",)), *rest]

    @property
    def cycles_per_inference(self):
        return self.schedule.interval

    @property
    def latency_cycles(self):
        return self.schedule.latency

    @property
    def core_fps(self):
        """Images per second at :attr:`clock_hz`."""
        return self.clock_hz / self.cycles_per_inference

    @property
    def updatable(self):
        """Whether what was trained is in block RAM, so that another network of this shape can be put into the bitstream."""
        return any(getattr(options, "memory", "") == "updatable" for options in self.options.values())

    @property
    def bottleneck(self):
        """The stage's element with the most cycles per frame."""
        def busy(element):
            return max(element.stage.cycles(self.options[element.name]), element.words_in, element.words_out)
        return max((element for element in self.elements if element.stage), key=busy)
