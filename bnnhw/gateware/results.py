"""Output side of the board's link: results wait in a ring until the host has them."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["ResultRing", "slots_of"]

MEMORY_BYTES = 512              # of a block RAM
SLOTS_MIN, SLOTS_MAX = 16, 64   # host's and board's 8-bit indices stay far from ambiguous


def _slot_bytes(record_bytes):
    return 1 << (record_bytes - 1).bit_length()


def slots_of(record_bytes):
    """Results that a ring holds: what fits in one block RAM, but 16 to 64. A record is the beats and the flag byte."""
    return min(max(MEMORY_BYTES // _slot_bytes(record_bytes), SLOTS_MIN), SLOTS_MAX)


class ResultRing(wiring.Component):
    """Holds the last results, each as a record of bytes: its beats, least significant byte first, then its error flag.

    A beat is taken every ``bytes_per_beat + 1`` cycles or less often; none while the ring is full, so no result is lost.

    Parameters
    ----------
    result_beats : int
        Beats of a result, at least 1.
    bytes_per_beat : int
        At least 1.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"data": 8 * bytes_per_beat, "last": 1, "error": 1})))`
        Beats of results.
    done : :py:`Out(8)`
        Results taken since ``clear``, modulo 256.
    freed : :py:`In(8)`
        Results that need not be held longer: from ``done - held`` to ``done`` (modulo 256).
    held : :py:`Out(8)`
        Results held: ``done - freed``.
    index, address : :py:`In(8)`, :py:`In(range(record_bytes))`
        Place to read.
    data : :py:`Out(8)`
        The byte there, one cycle later.
    stored : :py:`Out(1)`
        High for one cycle when ``done`` is about to count.
    clear : :py:`In(1)`
        Forget all results.
    """
    def __init__(self, result_beats, bytes_per_beat):
        for name, value in ("result_beats", result_beats), ("bytes_per_beat", bytes_per_beat):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        self.bytes_per_beat = bytes_per_beat
        self.record_bytes = result_beats * bytes_per_beat + 1
        self.slots = slots_of(self.record_bytes)
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"data": 8 * bytes_per_beat, "last": 1, "error": 1}))),
            "done": Out(8), "freed": In(8), "index": In(8), "address": In(range(self.record_bytes)),
            "held": Out(8), "data": Out(8), "stored": Out(1), "clear": In(1),
        })

    def elaborate(self, platform):
        m = Module()

        slot_bits, place_bits = (self.slots - 1).bit_length(), (self.record_bytes - 1).bit_length()
        m.submodules.memory = memory = Memory(shape=8, depth=self.slots << place_bits, init=[])
        writing, reading = memory.write_port(), memory.read_port()
        place = Signal(place_bits)
        beat = Signal(8 * self.bytes_per_beat)
        left = Signal(range(self.bytes_per_beat + 1))       # bytes of the beat still to be written
        last, error = Signal(), Signal()
        flag = Signal()         # the flag byte is next
        full, taken = Signal(), Signal()

        m.d.comb += [
            self.held.eq(self.done - self.freed),
            self.i.ready.eq((left == 0) & ~flag & ~full),
            flag.eq((left == 0) & last),
            taken.eq(self.i.valid & self.i.ready),
            writing.en.eq((left != 0) | flag),
            writing.addr.eq(Cat(place, self.done[:slot_bits])),
            writing.data.eq(Mux(flag, error, beat[:8])),
            reading.addr.eq(Cat(self.address, self.index[:slot_bits])),
            self.data.eq(reading.data),
            self.stored.eq(flag),
        ]
        # A cycle late where the host has freed a slot, but not where one was taken.
        m.d.sync += full.eq((self.held + flag)[slot_bits:].any())
        m.d.sync += [
            self.done.eq(self.done + flag),
            place.eq(Mux(flag, 0, place + (left != 0))),
            last.eq(Mux(taken, self.i.p.last, last & ~flag)),
            left.eq(Mux(taken, self.bytes_per_beat, left - (left != 0))),
        ]
        with m.If(taken):
            m.d.sync += [beat.eq(self.i.p.data), error.eq(self.i.p.error)]
        with m.Else():
            m.d.sync += beat.eq(beat >> 8)
        with m.If(self.clear):
            m.d.sync += [self.done.eq(0), place.eq(0), left.eq(0), last.eq(0)]

        return m
