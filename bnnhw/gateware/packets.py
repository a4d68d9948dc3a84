"""Packets of the board's link: receiving requests and sending replies, with their CRC.

The CRC runs one bit per cycle: a byte takes at least 40 cycles on the line, and a serial CRC costs a fifth of a
parallel one.
"""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import In, Out

from ..protocol import CRC_BYTES, REPLY, REQUEST
from .slip import PacketByte, ReceivedByte

__all__ = ["RequestHeader", "ReplyHeader", "RequestReceiver", "ReplySender"]

#: First bytes of a request, in the order of the line.
RequestHeader = data.StructLayout({"kind": 8, "session": 16, "tag": 8, "argument": 16})
#: First bytes of a reply.
ReplyHeader = data.StructLayout({"kind": 8, "session": 16, "tag": 8, "expected": 16, "done": 8, "detail": 8})

CRC_WIDTH = 8 * CRC_BYTES
assert RequestHeader.size == 8 * REQUEST.size and ReplyHeader.size == 8 * REPLY.size


class SerialCrc(wiring.Component):
    """CRC-32 (ISO-HDLC, the one of zlib) of bytes, 8 cycles each.

    Members
    -------
    start : :py:`In(1)`
        Forget what came before. Not while ``busy``.
    add : :py:`In(1)`
        Add ``byte``. Not while ``busy``.
    byte : :py:`In(8)`
    busy : :py:`Out(1)`
        High for the 8 cycles after ``add``.
    crc : :py:`Out(32)`
        CRC of the bytes since ``start``, valid unless ``busy``.
    match : :py:`Out(1)`
        The bytes since ``start`` end in their own CRC, least significant byte first.
    """
    start: In(1)
    add: In(1)
    byte: In(8)
    busy: Out(1)
    crc: Out(CRC_WIDTH)
    match: Out(1)

    def elaborate(self, platform):
        m = Module()

        m.submodules.crc = crc = CRC32_ISO_HDLC(data_width=1).create()
        bits = Signal(9)        # bits to come, the next one first; above them a 1 that marks their end
        m.d.comb += [
            crc.start.eq(self.start),
            crc.data.eq(bits[0]),
            crc.valid.eq(self.busy),
            self.crc.eq(crc.crc),
            self.match.eq(crc.match_detected),
        ]
        m.d.sync += [
            bits.eq(Mux(self.add, Cat(self.byte, C(1, 1)), bits >> 1)),
            self.busy.eq(self.add | bits[2:].any()),
        ]

        return m


class RequestReceiver(wiring.Component):
    """Takes requests apart: header to a register, payload to a memory, CRC checked.

    Nothing but the memory bank that ``write`` goes to changes before the CRC is known to be right. One byte per 9
    cycles; ``good`` or ``bad`` comes in the cycle after a packet's end was taken.

    Members
    -------
    i : :py:`In(stream.Signature(ReceivedByte))`
        Bytes of packets and their ends.
    header : :py:`Out(RequestHeader)`
        Header of the last packet, valid from 30 cycles before ``good`` until three after it.
    length : :py:`Out(8)`
        Bytes of its payload, valid from ``good`` on.
    good, bad : :py:`Out(1)`
        High for one cycle after a packet: it is whole and its CRC is right, or not.
    write : :py:`Out(1)`
        A payload byte ``data`` for place ``address``. The four bytes of the CRC follow the payload.
    """
    i: In(stream.Signature(ReceivedByte))
    header: Out(RequestHeader)
    length: Out(8)
    good: Out(1)
    bad: Out(1)
    write: Out(1)
    address: Out(8)
    data: Out(8)

    def crc_right(self, crc):
        """Whether the packet ends in the CRC of what came before. The noise tests show what happens without."""
        return crc.match

    def elaborate(self, platform):
        m = Module()

        m.submodules.crc = crc = SerialCrc()
        to_come = Signal(range(REQUEST.size + 1), init=REQUEST.size)    # header bytes
        count = Signal(9)                                               # bytes behind the header
        overflow = Signal()
        header = Signal(RequestHeader.size)
        whole = Signal()
        # A byte of the packet, or its end, acts in this cycle: decided a cycle ago.
        adds, ends = Signal(), Signal()
        right = Signal()        # the CRC is; it stands for two cycles when a packet's end acts
        headed, filled = Signal(), Signal()     # header and 256 bytes are there; a cycle late, soon enough for the next byte
        later = Signal()        # the cycle after ``good``

        m.d.comb += [
            self.i.ready.eq(adds | ends),
            crc.byte.eq(self.i.p.data),
            crc.add.eq(adds),
            crc.start.eq(ends),
            self.header.eq(header),
            self.address.eq(count),
            self.data.eq(self.i.p.data),
            self.write.eq(adds & headed & ~filled),
            # At least the four bytes of the CRC; 256 are right, one byte more sets overflow.
            whole.eq(count[2:].any() & ~overflow & ~self.i.p.bad & right),
        ]
        waits = self.i.valid & ~crc.busy & ~self.good & ~later & ~self.i.ready
        m.d.sync += [
            adds.eq(waits & ~self.i.p.end),
            ends.eq(waits & self.i.p.end),
            right.eq(self.crc_right(crc)),
            headed.eq(to_come == 0),
            filled.eq(count[8]),
            overflow.eq(~ends & (overflow | (adds & filled))),
            later.eq(self.good),
            self.good.eq(ends & whole),
            self.bad.eq(ends & ~whole),
        ]
        with m.If(ends):
            m.d.sync += [self.length.eq(count - CRC_BYTES), to_come.eq(REQUEST.size), count.eq(0)]
        with m.Elif(adds & ~headed):
            m.d.sync += [to_come.eq(to_come - 1), header.eq(Cat(header[8:], self.i.p.data))]
        with m.Elif(adds & ~filled):
            m.d.sync += count.eq(count + 1)

        return m


class ReplySender(wiring.Component):
    """Sends a reply: header, payload, CRC.

    ``header`` is read byte by byte, a cycle before each goes out, so a reply tells the state at its tag or a later one and
    needs no copy of it; only ``expected`` has two bytes that may change, and both are those of one cycle. Its ``kind``,
    ``session`` and ``detail``, and ``length``, must hold while ``busy``.

    Parameters
    ----------
    longest : int
        Bytes of the longest payload.

    Members
    -------
    start : :py:`In(1)`
        Send a reply. Not while ``busy``.
    header : :py:`In(ReplyHeader)`
    length : :py:`In(range(longest + 1))`
        Bytes of its payload.
    address : :py:`Out(range(longest + 1))`
        Payload byte that is wanted.
    data : :py:`In(8)`
        That byte, at most 6 cycles later.
    next : :py:`Out(1)`
        High for one cycle when a payload byte is taken.
    cut : :py:`In(1)`
        Break the reply off: its end follows without CRC, so that the host drops it.
    busy : :py:`Out(1)`
    o : :py:`Out(stream.Signature(PacketByte))`
    """
    def __init__(self, longest):
        self.longest = longest
        super().__init__({
            "start": In(1), "header": In(ReplyHeader), "length": In(range(longest + 1)),
            "address": Out(range(longest + 1)), "data": In(8), "next": Out(1), "cut": In(1), "busy": Out(1),
            "o": Out(stream.Signature(PacketByte)),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.crc = crc = SerialCrc()
        place = Signal(range(max(self.longest + 1, REPLY.size)))
        room = Signal()         # the byte register takes a byte: decided a cycle ago, so never twice in a row
        byte = Signal(8)        # the one at ``place``, a cycle after ``place`` is known
        # ``place`` is the last of the header, of the CRC, or there is no more payload. Known a cycle later, soon enough: the next
        # byte goes two cycles later at the earliest.
        last = Signal()
        header = Signal(ReplyHeader)
        # The high byte of `expected` as it was when the low one was read, whose turn lasts for 8 cycles or more: the CRC is busy.
        high, low = Signal(8), Signal()
        low_place = Const(ReplyHeader["expected"].offset // 8, 3)

        m.d.comb += [
            header.eq(self.header),
            header.expected[8:].eq(high),
            self.address.eq(place),
            crc.byte.eq(byte),
        ]
        with m.FSM() as fsm:
            idle, ending = fsm.ongoing("IDLE"), fsm.ongoing("END")
            unpaid = fsm.ongoing("PAYLOAD") & last      # nothing goes in this turn
            m.d.comb += [
                self.busy.eq(~idle | crc.busy),
                crc.start.eq(idle & ~crc.busy),
                crc.add.eq(room & (fsm.ongoing("HEADER") | self.next)),
                self.next.eq(room & fsm.ongoing("PAYLOAD") & ~last),
            ]
            m.d.sync += room.eq((~self.o.valid | self.o.ready) & ~crc.busy & ~room & ~idle)
            with m.State("IDLE"):
                m.d.sync += place.eq(0)
                with m.If(self.start):
                    m.next = "HEADER"
            with m.State("HEADER"):
                m.d.sync += [byte.eq(header.as_value().word_select(place[:3], 8)), last.eq(place == REPLY.size - 1)]
                with m.If(room & last):
                    m.next = "PAYLOAD"
                with m.If(self.cut):
                    m.next = "END"
            with m.State("PAYLOAD"):
                m.d.sync += [byte.eq(self.data), last.eq(place == self.length)]
                with m.If(room & last):
                    m.next = "CRC"
                with m.If(self.cut):
                    m.next = "END"
            with m.State("CRC"):
                m.d.sync += [byte.eq(crc.crc.word_select(place[:2], 8)), last.eq(place == CRC_BYTES - 1)]
                with m.If(room & last):
                    m.next = "END"
                with m.If(self.cut):
                    m.next = "END"
            with m.State("END"):
                with m.If(room):
                    m.next = "IDLE"
        m.d.sync += low.eq((place == low_place) & ~room)
        with m.If(low & ~room):
            m.d.sync += high.eq(self.header.expected[8:])
        with m.If(room):
            m.d.sync += [place.eq(Mux(last, 0, place + 1)), self.o.valid.eq(~unpaid)]
            m.d.sync += [self.o.p.data.eq(byte), self.o.p.end.eq(ending)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        return m
