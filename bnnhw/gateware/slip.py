"""SLIP framing: packets in a stream of bytes, END (0xC0) between them. Source: RFC 1055."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from ..protocol import END, ESC, ESC_END, ESC_ESC

__all__ = ["PacketByte", "ReceivedByte", "SlipDecoder", "SlipEncoder"]

#: A byte of a packet or, with ``end`` set, the end of the packet (``data`` then says nothing).
PacketByte = data.StructLayout({"data": 8, "end": 1})
#: The same with ``bad``, valid with ``end``: a byte of this packet was lost or wrongly escaped.
ReceivedByte = data.StructLayout({"data": 8, "end": 1, "bad": 1})


class SlipDecoder(wiring.Component):
    """Takes the framing off: bytes on the line to bytes of packets and their ends.

    Between two END bytes with nothing between them there is no packet, so a sender may put END before and after each.
    One byte every three cycles, latency 2 cycles.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes from the line.
    lost : :py:`In(1)`
        High for a cycle when the line lost a byte here: the packet is then bad.
    o : :py:`Out(stream.Signature(ReceivedByte))`
        Bytes of packets, and one token with ``end`` for each packet.
    """
    i: In(stream.Signature(8))
    lost: In(1)
    o: Out(stream.Signature(ReceivedByte))

    def elaborate(self, platform):
        m = Module()

        there, byte = Signal(), Signal(8)       # the byte at hand, and what it is
        is_end, is_esc, may_follow = Signal(), Signal(), Signal()
        known, tells = Signal(), Signal()       # a cycle later: what it means, and whether that is for the receiver
        inside = Signal()       # a byte of the packet has come
        escaped = Signal()      # the last byte was ESC
        bad = Signal()
        starts = Signal()       # an escape
        wrong = Signal()        # neither of the two bytes that may follow ESC
        lost = Signal()         # behind the byte at hand

        m.d.comb += [
            self.i.ready.eq(~there),
            self.o.p.data.eq(Mux(escaped, Mux(byte[0], ESC, END), byte)),
            self.o.p.end.eq(is_end),
            self.o.p.bad.eq(bad | wrong),
            self.o.valid.eq(known & tells),
        ]
        m.d.sync += [
            starts.eq(~escaped & is_esc),
            wrong.eq(escaped & ~may_follow),
            tells.eq(Mux(is_end, inside, escaped | ~is_esc)),
        ]
        with m.If(~there):
            m.d.sync += [
                there.eq(self.i.valid),
                byte.eq(self.i.payload),
                is_end.eq(self.i.payload == END),
                is_esc.eq(self.i.payload == ESC),
                may_follow.eq((self.i.payload == ESC_END) | (self.i.payload == ESC_ESC)),
            ]
        with m.Elif(~known):
            m.d.sync += known.eq(1)
        with m.Elif(~tells | self.o.ready):
            m.d.sync += [there.eq(0), known.eq(0), escaped.eq(starts)]
            with m.If(is_end):
                m.d.sync += [inside.eq(0), bad.eq(0), escaped.eq(0)]
            with m.Else():
                m.d.sync += [inside.eq(1), bad.eq(bad | wrong)]
        m.d.sync += lost.eq(self.lost | (lost & there))
        with m.If(lost & ~there):
            m.d.sync += [inside.eq(1), bad.eq(1)]

        return m


class SlipEncoder(wiring.Component):
    """Puts the framing on: bytes of packets and their ends to bytes on the line.

    Each packet is END, its bytes with END and ESC escaped, END. A byte that needs an escape takes two cycles, the
    first of a packet one more; the others one. Combinational from ``i`` to ``o``, ready included.

    Members
    -------
    i : :py:`In(stream.Signature(PacketByte))`
        Bytes of packets, and one token with ``end`` for each packet.
    o : :py:`Out(stream.Signature(8))`
        Bytes for the line.
    """
    i: In(stream.Signature(PacketByte))
    o: Out(stream.Signature(8))

    def elaborate(self, platform):
        m = Module()

        inside = Signal()       # the END before the packet is sent
        escaped = Signal()      # ESC is sent

        special = Signal()
        m.d.comb += [
            special.eq((self.i.p.data == END) | (self.i.p.data == ESC)),
            self.o.valid.eq(self.i.valid),
            self.i.ready.eq(0),
        ]
        # Each branch: what goes on the line, and whether it completes the token.
        with m.If(self.i.p.end):
            m.d.comb += [self.o.payload.eq(END), self.i.ready.eq(self.o.ready)]
        with m.Elif(~inside):
            m.d.comb += self.o.payload.eq(END)
        with m.Elif(special & ~escaped):
            m.d.comb += self.o.payload.eq(ESC)
        with m.Elif(special):
            m.d.comb += [self.o.payload.eq(Mux(self.i.p.data == END, ESC_END, ESC_ESC)), self.i.ready.eq(self.o.ready)]
        with m.Else():
            m.d.comb += [self.o.payload.eq(self.i.p.data), self.i.ready.eq(self.o.ready)]
        with m.If(self.i.valid & self.o.ready):
            m.d.sync += [inside.eq(~self.i.p.end), escaped.eq(inside & special & ~escaped)]

        return m
