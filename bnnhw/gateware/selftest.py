"""The board's self-test: frames that it makes itself, so that the network can be tried without the line."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..protocol import TEST_FRAMES, TEST_SEED, TEST_TAPS, greatest_bytes
from .chunks import FrameByte

__all__ = ["SelfTest"]


class SelfTest(wiring.Component):
    """Stands between the chunks' bytes and the beats: passes them on, or first gives :data:`~bnnhw.protocol.TEST_FRAMES` frames.

    These are what :func:`bnnhw.protocol.test_frames` says: each byte is 0 or that of the input's greatest code, by the next bit
    of a linear feedback shift register of 16 bits. One byte per cycle.

    Cost: 16 flip-flops of the register, counters of bytes and frames, a LUT per bit of a byte: 46 cells of iCE40 for frames of
    784 bytes.

    Parameters
    ----------
    frame_bytes : int
        Bytes of a frame.
    greatest : int
        The greatest code of an input element.

    Members
    -------
    clear : :py:`In(1)`
        Begin again, as long as it is high.
    run : :py:`In(1)`
        Give the frames, which then come before any other byte. Changes only with ``clear``.
    i : :py:`In(stream.Signature(FrameByte))`
    o : :py:`Out(stream.Signature(FrameByte))`
    """
    def __init__(self, frame_bytes, greatest):
        self.frame_bytes, self.ones = frame_bytes, greatest_bytes(greatest)
        if frame_bytes % len(self.ones):
            raise ValueError(f"a frame of elements of {len(self.ones)} bytes cannot have {frame_bytes} bytes")
        super().__init__({"clear": In(1), "run": In(1),
                          "i": In(stream.Signature(FrameByte)), "o": Out(stream.Signature(FrameByte))})

    def elaborate(self, platform):
        m = Module()

        state = Signal(16, init=TEST_SEED)
        place = Signal(range(self.frame_bytes))
        ends = Signal(init=self.frame_bytes == 1)       # this byte is the frame's last
        sent = Signal(range(TEST_FRAMES + 1))
        active = self.run & ~sent[-1]
        ones = self._ones(m, active & self.o.ready)
        m.d.comb += [
            self.o.valid.eq(active | self.i.valid),
            self.i.ready.eq(~active & self.o.ready),
            self.o.p.data.eq(Mux(active, ones & state[0].replicate(8), self.i.p.data)),
            self.o.p.last.eq(Mux(active, ends, self.i.p.last)),
        ]
        with m.If(active & self.o.ready):
            m.d.sync += [
                state.eq(Cat(state[1:], (state & TEST_TAPS).xor())),
                place.eq(Mux(ends, 0, place + 1)),
                ends.eq((place == self.frame_bytes - 2) if self.frame_bytes > 1 else 1),
                sent.eq(sent + ends),
            ]
        with m.If(self.clear):
            m.d.sync += [state.eq(TEST_SEED), place.eq(0), ends.eq(self.frame_bytes == 1), sent.eq(0)]

        return m

    def _ones(self, m, step):
        """The byte of the greatest code that belongs to this place of an element."""
        if len(set(self.ones)) == 1:
            return Const(self.ones[0], 8)
        part, ones = Signal(range(len(self.ones))), Signal(8)
        with m.Switch(part):
            for k, byte in enumerate(self.ones):
                with m.Case(k):
                    m.d.comb += ones.eq(byte)
        with m.If(self.clear):
            m.d.sync += part.eq(0)
        with m.Elif(step):
            m.d.sync += part.eq(Mux(part == len(self.ones) - 1, 0, part + 1))
        return ones
