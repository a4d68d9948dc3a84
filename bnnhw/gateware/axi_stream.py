"""AXI4-Stream: packets of bytes in, packets of result beats out, around any core of streams."""

from amaranth import *
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from .frames import FlagQueue, FrameGuard
from .streams import RegisterSlice

__all__ = ["AxiStreamTop"]


class AxiStreamTop(wiring.Component):
    """A core with the ports of AXI4-Stream (Arm IHI 0051): a packet per frame in, a packet of beats per result out.

    Every packet gives one result, in order. One that is too short is filled up with zeros, which are the input's lowest
    value; what one that is too long has in excess is dropped; either is marked in its result (:class:`FrameGuard`).

    Register slices stand at both ends, so no combinational path leads from one side to the other, and each adds a
    cycle to the core's latency. No cycle is lost between frames. A result waits for its frame's flag, which is there
    one cycle after the core took the frame's last word. It never hangs, whatever the two sides do, provided that
    the core takes a whole frame before its first result beat must be taken, and gives its result
    without the next frame.

    ``aresetn`` is synchronous and active low; nothing of what was under way survives it. ``s_axis_tready`` is low until
    the cycle after it.

    Parameters
    ----------
    core : Component
        Member ``i`` is a stream of ``ArrayLayout(8, lanes)``, ``frame_elements / lanes`` words per frame; ``o`` one of
        ``StructLayout({"data": signed(8 * bytes_per_beat), "last": 1})``, ``last`` on a result's last beat.
    lanes : int
        Bytes per beat of the input.
    frame_elements : int
        Bytes of a frame, a multiple of ``lanes``.
    result_beats : int
        Beats of a result; the core counts them, who uses the component reads them here.
    bytes_per_beat : int
        Bytes of a result beat.
    frames_in_flight : int
        Frames that can be in the core at a time: fewer than it could hold will hold it up, but not hang it.
    tasks : int
        With more than one the core has a member ``task``, a stream of ``range(tasks)``, one for each frame.

    Members
    -------
    aclk, aresetn : In(1)
    s_axis_tdata : In(8 * lanes)
        The first byte in the least significant bits.
    s_axis_tvalid, s_axis_tlast : In(1)
    s_axis_tready : Out(1)
    s_axis_tuser : In(range(tasks))
        Only with several tasks: that of the frame. The value of a packet's first beat counts. A number that is no task's
        counts as 0 and marks the result.
    m_axis_tdata : Out(8 * bytes_per_beat)
    m_axis_tvalid, m_axis_tlast : Out(1)
    m_axis_tuser : Out(1)
        1 on all beats of the result of a packet that was too short or too long, or whose task there is not.
    m_axis_tready : In(1)
    """
    def __init__(self, core, *, lanes, frame_elements, result_beats, bytes_per_beat, frames_in_flight, tasks=1):
        for name, value in (("lanes", lanes), ("frame_elements", frame_elements), ("result_beats", result_beats),
                            ("bytes_per_beat", bytes_per_beat), ("frames_in_flight", frames_in_flight), ("tasks", tasks)):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        if frame_elements % lanes:
            raise ValueError(f"lanes must divide the frame's {frame_elements} bytes, not be {lanes}")
        for name, port, bits in (("i", core.i, 8 * lanes), ("o", core.o, 8 * bytes_per_beat + 1)):
            if (own := len(Value.cast(port.payload))) != bits:
                raise ValueError(f"the core's {name} must have {bits} bits, not {own}")
        self.core, self.frames_in_flight, self.tasks = core, frames_in_flight, tasks
        self.lanes, self.frame_elements = lanes, frame_elements
        self.result_beats, self.bytes_per_beat = result_beats, bytes_per_beat
        super().__init__({
            "aclk": In(1), "aresetn": In(1),
            "s_axis_tdata": In(8 * lanes), "s_axis_tvalid": In(1), "s_axis_tready": Out(1), "s_axis_tlast": In(1),
            "m_axis_tdata": Out(8 * bytes_per_beat), "m_axis_tvalid": Out(1), "m_axis_tready": In(1),
            "m_axis_tlast": Out(1), "m_axis_tuser": Out(1),
        } | ({"s_axis_tuser": In(range(tasks))} if tasks > 1 else {}))

    def elaborate(self, platform):
        m = Module()

        m.domains.sync = domain = ClockDomain()
        m.d.comb += [domain.clk.eq(self.aclk), domain.rst.eq(~self.aresetn)]

        beat = data.StructLayout({"data": signed(8 * self.bytes_per_beat), "last": 1, "user": 1})
        m.submodules.guard = guard = FrameGuard(lanes=self.lanes, frame_elements=self.frame_elements)
        m.submodules.first = first = RegisterSlice(guard.i.payload.shape())
        m.submodules.core = core = self.core
        m.submodules.flags = flags = FlagQueue(self.frames_in_flight)
        m.submodules.final = final = RegisterSlice(beat)

        awake = Signal()        # a source that overlooks the reset must not see a ready that means nothing
        m.d.sync += awake.eq(1)
        flag, admitted = flags.o.payload, awake
        if self.tasks > 1:
            wrong, admitted = self._task(m, awake, first.i.ready)
            flag = flag | wrong.o.payload       # there before the flag, and leaves with it
            m.d.comb += wrong.o.ready.eq(flags.o.valid & flags.o.ready)
        m.d.comb += [
            Value.cast(first.i.p.data).eq(self.s_axis_tdata),
            first.i.p.last.eq(self.s_axis_tlast),
            first.i.valid.eq(self.s_axis_tvalid & admitted),
            self.s_axis_tready.eq(first.i.ready & admitted),
        ]

        wiring.connect(m, first.o, guard.i)
        wiring.connect(m, guard.flags, flags.i)
        m.d.comb += [
            Value.cast(core.i.payload).eq(Value.cast(guard.o.payload)),
            core.i.valid.eq(guard.o.valid),
            guard.o.ready.eq(core.i.ready),
        ]

        # A beat of a result leaves together with its frame's flag, which stays until the last one.
        m.d.comb += [
            final.i.p.data.eq(core.o.p.data),
            final.i.p.last.eq(core.o.p.last),
            final.i.p.user.eq(flag),
            final.i.valid.eq(core.o.valid & flags.o.valid),
            core.o.ready.eq(flags.o.valid & final.i.ready),
            flags.o.ready.eq(core.o.valid & core.o.p.last & final.i.ready),
        ]

        m.d.comb += [
            self.m_axis_tdata.eq(final.o.p.data),
            self.m_axis_tlast.eq(final.o.p.last),
            self.m_axis_tuser.eq(final.o.p.user),
            self.m_axis_tvalid.eq(final.o.valid),
            final.o.ready.eq(self.m_axis_tready),
        ]

        return m

    def _task(self, m, awake, room):
        """Give the core the task of every packet with its first beat.

        Returns the queue that has, for each frame in the core, whether there is no such task, and whether the beat at ``s_axis``
        may be taken where ``room`` says that there is some for it.
        """
        m.submodules.wrong = wrong = FlagQueue(self.frames_in_flight)
        starting = Signal(init=1)       # this beat is a packet's first
        known, offered = Signal(), Signal()
        admitted = Signal()
        m.d.comb += [
            known.eq(self.s_axis_tuser < self.tasks),
            offered.eq(self.s_axis_tvalid & awake & room & starting),
            self.core.task.payload.eq(Mux(known, self.s_axis_tuser, 0)),
            self.core.task.valid.eq(offered & wrong.i.ready),
            wrong.i.payload.eq(~known),
            wrong.i.valid.eq(offered & self.core.task.ready),
            admitted.eq(awake & (~starting | (self.core.task.ready & wrong.i.ready))),
        ]
        with m.If(self.s_axis_tvalid & self.s_axis_tready):
            m.d.sync += starting.eq(self.s_axis_tlast)
        return wrong, admitted
