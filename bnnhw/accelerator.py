"""From a plan to the accelerator: Amaranth components joined by streams, and the one Verilog file."""

import os
from dataclasses import dataclass

from amaranth import *
from amaranth.back import verilog as amaranth_verilog
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from . import __version__
from .gateware.axi_stream import AxiStreamTop
from .gateware.frames import TaskQueue

__all__ = ["TOP", "Core", "Tap", "top", "taps", "verilog"]

TOP = "bnnhw_top"       # name of the top module


class Core(wiring.Component):
    """The stages of a plan, with bytes in and result beats out. Every frame is whole.

    Submodules carry the names of the layers; a width converter in front of layer ``fc1`` is ``fc1_join`` or ``fc1_split``, what
    gives its results to several layers is ``fc1_fork``.
    Interval and latency are those of the plan.

    Attributes
    ----------
    elements : list of (Element, Component)
    modules : dict element name -> dict module name -> made
        Circuits that stand in the Verilog as modules of their own (:mod:`bnnhw.gateware.baked`), of the elements that have some.

    Members
    -------
    i : :py:`In(stream.Signature(ArrayLayout(8, input_lanes * element_bytes)))`
        Each element padded to whole bytes, the first in the least significant bits.
    task : :py:`In(stream.Signature(range(tasks)))`
        Where there are several tasks that of each frame, taken at the latest when its first word is: a stage waits for it. There
        is room for those of so many frames as are on their way when none is held up, and two more.
    o : :py:`Out(stream.Signature(StructLayout({"data": signed(8 * bytes_per_beat), "last": 1})))`
    """
    def __init__(self, plan):
        self.tasks, self.frames = plan.tasks, frames_in_flight(plan) if plan.tasks > 1 else 0
        self.elements = [(element, element.build()) for element in plan.elements]
        self.modules = {element.name: component.modules for element, component in self.elements if hasattr(component, "modules")}
        beat = data.StructLayout({"data": signed(8 * plan.bytes_per_beat), "last": 1})
        super().__init__({
            "i": In(stream.Signature(data.ArrayLayout(8, plan.input_lanes * plan.element_bytes))),
            "o": Out(stream.Signature(beat)),
        } | ({"task": In(stream.Signature(range(self.tasks)))} if self.tasks > 1 else {}))

    def elaborate(self, platform):
        m = Module()

        streams = {None: self.i}
        for element, component in self.elements:
            m.submodules[element.name] = component
            for source, port in zip(element.sources, _ports(component, "i", element.sources), strict=True):
                _join(m, streams.pop(source), port)
            for name, port in zip(element.streams, _ports(component, "o", element.streams), strict=True):
                streams[name] = port
                _show(m, name, port.payload, port.valid, port.ready)
            for k, wires in enumerate(component.seen if element.stage and element.stage.inner else ()):
                _show(m, _inner(element.name, k), *wires)
        result, = streams.values()
        _join(m, result, self.o)
        if self.tasks > 1:
            self._hand_out(m)

        return m

    def _hand_out(self, m):
        """Give every stage with banks the task of each frame, through a queue of its own."""
        queues = []
        for element, component in self.elements:
            if element.stage and element.stage.tasks > 1:
                # No operation's name begins like this.
                m.submodules[f"_task_{element.name}"] = queue = TaskQueue(self.tasks, self.frames)
                wiring.connect(m, queue.o, component.task)
                queues.append(queue)
        room = Cat(queue.i.ready for queue in queues).all()
        m.d.comb += self.task.ready.eq(room)
        for queue in queues:
            m.d.comb += [queue.i.payload.eq(self.task.payload), queue.i.valid.eq(self.task.valid & room)]


def _ports(component, letter, names):
    """The members of ``component`` for so many streams: ``i``, or ``i0, i1, ...``."""
    return [getattr(component, letter if len(names) == 1 else f"{letter}{k}") for k in range(len(names))]


def _show(m, name, payload, valid, ready):
    """Give a stream wires with names that do not depend on its neighbours, for simulation to look at; they cost nothing."""
    for member, value in (("payload", payload), ("valid", valid), ("ready", ready)):
        value = Value.cast(value)
        wire = Signal(len(value), name=f"{name}__{member}")
        m.d.comb += wire.eq(value)


def _inner(name, k):
    """What the wires of a stage's k-th inner edge are called."""
    return f"{name}_inner{k}"


def _join(m, source, sink):
    """Connect two streams whose payloads have the same bits but may have different layouts."""
    assert len(Value.cast(source.payload)) == len(Value.cast(sink.payload)), (source.payload, sink.payload)
    m.d.comb += [
        Value.cast(sink.payload).eq(Value.cast(source.payload)),
        sink.valid.eq(source.valid),
        source.ready.eq(sink.ready),
    ]


@dataclass(frozen=True)
class Tap:
    """Where the values of an edge can be seen in the running Verilog.

    Attributes
    ----------
    edge : str
        The network's edge.
    layer : str
        The stage whose output it is.
    wire : str
        Prefix of the stream's wires in the module ``bnnhw_top.core``: ``WIRE__payload``, ``WIRE__valid``, ``WIRE__ready``.
    lanes, bits : int
        Elements per word, bits per element, the first in the least significant bits.
    words : int
        Words per frame.
    lo, step : int
        An element on the wire ``x`` means ``lo + step * x``.
    """
    edge: str
    layer: str
    wire: str
    lanes: int
    bits: int
    words: int
    lo: int
    step: int


def taps(plan):
    """A :class:`Tap` for every edge of the network that a stage carries, in order; the result's beats are none."""
    found = []
    for element in plan.elements:
        stage = element.stage
        if stage is None:
            continue
        for k, edge in enumerate(stage.inner):
            type = plan.network.types[edge]
            found.append(Tap(edge, stage.name, _inner(stage.name, k), type.size, type.bits, 1, type.lo, type.step))
        if stage.edge is None or stage is plan.stages[-1]:
            continue
        type = plan.network.types[stage.edge]
        found.append(Tap(stage.edge, stage.name, stage.name, plan.lanes_out(stage.name), stage.bits_out, element.words_out,
                         type.lo, type.step))
    return found


def frames_in_flight(plan):
    """Frames for which there is room in what goes beside the stages: those that are on their way, and two more."""
    return plan.schedule.frames + 2


def top(plan, core=None):
    """The accelerator with its AXI4-Stream ports around its :class:`Core`, as an Amaranth component."""
    return AxiStreamTop(core or Core(plan), lanes=plan.input_lanes * plan.element_bytes,
                        frame_elements=plan.frame_elements * plan.element_bytes, result_beats=plan.result_beats,
                        bytes_per_beat=plan.bytes_per_beat, frames_in_flight=frames_in_flight(plan), tasks=plan.tasks)


def verilog(plan, *, cells=False):
    """The Verilog of the accelerator: one file, top module ``bnnhw_top``.

    Circuits of constant layers are modules behind it: plain Verilog, or with ``cells`` the cells of the FPGA for which their
    options are.

    The same plan gives the same text, byte for byte, whatever is installed: it is always written by the yosys that
    Amaranth brings. It holds no path of this machine.
    """
    core = Core(plan)
    before = os.environ.get("AMARANTH_USE_YOSYS")
    os.environ["AMARANTH_USE_YOSYS"] = "builtin"
    try:
        text = amaranth_verilog.convert(top(plan, core), name=TOP, emit_src=False)
    finally:
        if before is None:
            del os.environ["AMARANTH_USE_YOSYS"]
        else:
            os.environ["AMARANTH_USE_YOSYS"] = before
    header = [
        f"// Generated by bnnhw {__version__}.",
        f"// Network SHA-256: {plan.network.digest}",
        f"// Frame: {plan.frame_elements} elements in, {plan.frame_elements // plan.input_lanes} beats of "
        f"{plan.input_lanes}; result: {plan.result_beats} beats of {8 * plan.bytes_per_beat} bits.",
        f"// Cycles per frame: {plan.cycles_per_inference}; latency in cycles: {plan.latency_cycles}.",
    ]
    body = text.split("\n", 1)[1] if text.startswith("/* Generated by") else text
    modules = [made.verilog(name) if cells else made.plain(name) for own in core.modules.values() for name, made in own.items()]
    return "\n".join(header) + "\n" + body + "".join("\n" + module for module in modules)
