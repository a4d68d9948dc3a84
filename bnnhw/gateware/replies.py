"""Which reply the board sends next, and its bytes."""

from amaranth import *
from amaranth.lib import data, enum, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..protocol import Fault, Kind
from .packets import ReplySender
from .slip import PacketByte
from .weights import pages

__all__ = ["Want", "CounterValues", "Responder"]

CounterValues = data.StructLayout({"frames": 32, "errors": 32, "stalls": 32, "cycles": 32})


class Want(enum.Enum, shape=3):
    """Kind of a reply that waits."""
    STATUS = 0
    IDENTITY = 1
    OPENED = 2
    RESULT = 3
    COUNTED = 4
    UNKNOWN_KIND = 5
    NO_SESSION = 6


class Responder(wiring.Component):
    """Keeps the replies that wait and sends them, one after the other.

    Two places: one for a status, since a later status says all that an earlier one would have (and every reply tells the status),
    one for another reply; there a later one replaces an earlier.

    Cost: one block RAM, for the identity (as LUTs it would be some 80).

    Parameters
    ----------
    identity : Identity
        What an IDENTITY reply says.

    Members
    -------
    ask : :py:`In(1)`
        The reply ``want`` is to be sent; for RESULT the ``count`` results ``first``, ``first + 1``, ..., each in a reply of
        its own. Where one is not done when its turn comes, a status ends them.
    cut : :py:`In(1)`
        Break off the reply that is being sent, and forget those that wait; but not one asked for in the same cycle.
    session, tag, expected, done : :py:`In(16)`, :py:`In(8)`, :py:`In(16)`, :py:`In(8)`
        State that replies tell.
    refused : :py:`In(1)`
        State that a status tells: the chunk expected came, and there was no room for it.
    index, address, data : :py:`Out(8)`, :py:`Out(range(record_bytes))`, :py:`In(8)`
        Where to read a result's record; the byte comes one cycle later.
    counters : :py:`In(CounterValues)`
        All four are read in the same cycle.
    o : :py:`Out(stream.Signature(PacketByte))`
    """
    def __init__(self, identity):
        self.identity = identity
        super().__init__({
            "ask": In(1), "want": In(Want), "first": In(8), "count": In(8), "cut": In(1),
            "session": In(16), "tag": In(8), "expected": In(16), "done": In(8), "refused": In(1),
            "index": Out(8), "address": Out(range(identity.record_bytes)), "data": In(8),
            "counters": In(CounterValues),
            "o": Out(stream.Signature(PacketByte)),
        })

    def elaborate(self, platform):
        m = Module()

        identity, record_bytes = self.identity.pack(), self.identity.record_bytes
        m.submodules.identity = rom = Memory(shape=8, depth=pages(len(identity)), init=identity, attrs={"ram_style": "block"})
        rom_port = rom.read_port()
        m.submodules.sender = sender = ReplySender(max(len(identity), CounterValues.size // 8, record_bytes))
        wiring.connect(m, sender.o, wiring.flipped(self.o))

        status = Signal()                       # one waits
        other = Signal(Want)                    # another waits, unless this is STATUS
        current = Signal(Want)                  # the one that is being sent
        left = Signal(8)                        # results to send
        following = Signal(8)                   # index of the next one
        there = Signal()                        # that one is done
        idle, waits, start, starts = Signal(), Signal(), Signal(), Signal()
        snapshot, load, shift = Signal(CounterValues.size), Signal(), Signal()

        m.d.comb += [
            sender.start.eq(starts & ~self.cut),
            sender.cut.eq(self.cut),
            start.eq(idle & waits & ~self.cut),
        ]
        # Not in the cycle after a request or a cut, so that it is known what waits, and whether its result is there.
        m.d.sync += [
            idle.eq(~sender.busy & ~start & ~starts & ~self.ask & ~self.cut),
            starts.eq(start),       # a cycle later, when what depends on ``current`` is in registers
            waits.eq(status | (other != Want.STATUS)),
            there.eq(following != self.done),
        ]
        with m.If(start):
            m.d.sync += [status.eq(0), other.eq(Want.STATUS), current.eq(other)]
            with m.If((other == Want.RESULT) & ~there):
                m.d.sync += current.eq(Want.STATUS)
            with m.If((other == Want.RESULT) & there):
                m.d.sync += [self.index.eq(following), following.eq(following + 1), left.eq(left - 1)]
                with m.If(left != 1):
                    m.d.sync += other.eq(Want.RESULT)
        # So many registers wait for these that they come a cycle later; a byte has eight.
        m.d.sync += [load.eq(start & (other == Want.COUNTED)), shift.eq(sender.next)]
        with m.If(load):
            m.d.sync += snapshot.eq(self.counters)
        with m.Elif(shift):
            m.d.sync += snapshot.eq(snapshot >> 8)
        with m.If(self.cut):
            m.d.sync += [status.eq(0), other.eq(Want.STATUS)]
        with m.If(self.ask):
            with m.If(self.want == Want.STATUS):
                m.d.sync += status.eq(1)
            with m.Else():
                m.d.sync += other.eq(self.want)
                with m.If(self.want == Want.RESULT):
                    m.d.sync += [following.eq(self.first), left.eq(self.count)]

        kind, detail = Signal(8), Signal(8)
        m.d.comb += [
            sender.header.kind.eq(kind),
            sender.header.session.eq(self.session),
            sender.header.tag.eq(self.tag),
            sender.header.expected.eq(self.expected),
            sender.header.done.eq(self.done),
            sender.header.detail.eq(detail),
            self.address.eq(sender.address),
            rom_port.addr.eq(sender.address),
        ]
        m.d.sync += detail.eq(0)
        with m.Switch(current):
            with m.Case(Want.STATUS):
                m.d.sync += [kind.eq(Kind.STATUS), detail.eq(self.refused)]
            with m.Case(Want.IDENTITY):
                m.d.comb += sender.length.eq(len(identity))
                m.d.sync += [kind.eq(Kind.IDENTITY), sender.data.eq(rom_port.data)]
            with m.Case(Want.OPENED):
                m.d.sync += kind.eq(Kind.OPENED)
            with m.Case(Want.RESULT):
                m.d.comb += sender.length.eq(record_bytes)
                m.d.sync += [kind.eq(Kind.RESULT), detail.eq(self.index), sender.data.eq(self.data)]
            with m.Case(Want.COUNTED):
                m.d.comb += sender.length.eq(CounterValues.size // 8)
                m.d.sync += [kind.eq(Kind.COUNTED), sender.data.eq(snapshot[:8])]
            with m.Case(Want.UNKNOWN_KIND):
                m.d.sync += [kind.eq(Kind.ERROR), detail.eq(Fault.UNKNOWN_KIND)]
            with m.Case(Want.NO_SESSION):
                m.d.sync += [kind.eq(Kind.ERROR), detail.eq(Fault.NO_SESSION)]

        return m
