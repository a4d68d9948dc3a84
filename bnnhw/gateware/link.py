"""The board's side of the protocol (``docs/protocol.md``): bytes from the host to frames, results to bytes for the host."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from ..protocol import CHUNK_BYTES_MAX, TEST_FRAMES, Identity, Kind
from .chunks import BeatPacker, ChunkBuffer, FrameByte
from .packets import RequestReceiver
from .replies import CounterValues, Responder, Want
from .results import ResultRing, slots_of
from .selftest import SelfTest
from .slip import PacketByte, ReceivedByte, SlipDecoder, SlipEncoder
from .streams import Relay

__all__ = ["Link", "identity_of"]

RESET_CYCLES = 16       # for which aresetn is low when a session opens


def identity_of(network, *, clock_hz, frame_bytes, lanes, result_beats, bytes_per_beat, scores, greatest=255):
    """The :class:`Identity` of a board with such a network (32-byte SHA-256); what the gateware decides is filled in."""
    record_bytes = result_beats * bytes_per_beat + 1
    return Identity(network, clock_hz, frame_bytes, lanes, result_beats, bytes_per_beat, scores,
                    CHUNK_BYTES_MAX, slots_of(record_bytes), greatest)


class Link(wiring.Component):
    """Connects a network to a host over a line that may lose and alter bytes.

    Requests act only when whole and right, a few cycles after their last byte, and every one may come again.

    Cost: two block RAMs (input chunks, results).

    Parameters
    ----------
    identity : Identity
        From :func:`identity_of`.

    Members
    -------
    i, o : :py:`In(stream.Signature(8))`, :py:`Out(stream.Signature(8))`
        Bytes of the line. ``i`` takes a byte at least every 10 cycles.
    lost : :py:`In(1)`
        High for a cycle where the line lost a byte.
    aresetn : :py:`Out(1)`
        The network's reset: low for 16 cycles after this component's own, and when a session opens.
    frames : :py:`Out(stream.Signature(StructLayout({"data": 8 * lanes, "last": 1})))`
        Frames for the network.
    results : :py:`In(stream.Signature(StructLayout({"data": 8 * bytes_per_beat, "last": 1, "error": 1})))`
        Results of the network.
    open : :py:`Out(1)`
        There is a session.
    faulty : :py:`Out(1)`
        A packet was dropped since the session opened.
    """
    def __init__(self, identity):
        self.identity = identity
        self.ring = ResultRing(identity.result_beats, identity.bytes_per_beat)
        self.packer = BeatPacker(identity.lanes)
        if identity.slots != self.ring.slots or identity.chunk_bytes != CHUNK_BYTES_MAX:
            raise ValueError(f"the identity must say {self.ring.slots} slots and chunks of {CHUNK_BYTES_MAX} bytes, "
                             f"not {identity.slots} and {identity.chunk_bytes}")
        super().__init__({
            "i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "lost": In(1), "aresetn": Out(1),
            "frames": Out(stream.Signature(self.packer.o.p.shape())), "results": In(stream.Signature(self.ring.i.p.shape())),
            "open": Out(1), "faulty": Out(1),
        })

    def elaborate(self, platform):
        m = Module()

        m.submodules.decoder = decoder = SlipDecoder()
        m.submodules.receiver = receiver = RequestReceiver()
        m.submodules.chunks = chunks = ChunkBuffer()
        m.submodules.selftest = selftest = SelfTest(self.identity.frame_bytes, self.identity.greatest)
        m.submodules.packer = packer = self.packer
        m.submodules.ring = ring = self.ring
        m.submodules.responder = responder = Responder(self.identity)
        m.submodules.encoder = encoder = SlipEncoder()

        wiring.connect(m, wiring.flipped(self.i), decoder.i)
        # Bytes come so seldom that the way of each may be cut by a register.
        m.submodules.received = received = Relay(ReceivedByte)
        m.submodules.replied = replied = Relay(PacketByte)
        m.submodules.sent = sent = Relay(8)
        clear, drained = Signal(), Relay(FrameByte)
        m.submodules.drained = ResetInserter(clear)(drained)
        wiring.connect(m, decoder.o, received.i)
        wiring.connect(m, received.o, receiver.i)
        wiring.connect(m, chunks.o, drained.i)
        wiring.connect(m, drained.o, selftest.i)
        wiring.connect(m, selftest.o, packer.i)
        wiring.connect(m, packer.o, wiring.flipped(self.frames))
        wiring.connect(m, wiring.flipped(self.results), ring.i)
        wiring.connect(m, responder.o, replied.i)
        wiring.connect(m, replied.o, encoder.i)
        wiring.connect(m, encoder.o, sent.i)
        wiring.connect(m, sent.o, wiring.flipped(self.o))
        m.d.comb += decoder.lost.eq(self.lost)

        session, expected, freed = Signal(16), Signal(16), Signal(8)
        opening = Signal()      # a session begins or ends in this cycle
        m.d.comb += [
            chunks.clear.eq(clear), selftest.clear.eq(clear), packer.clear.eq(clear), ring.clear.eq(clear),
            responder.cut.eq(opening),
        ]
        # From the first cycle in which aresetn is low until a cycle after the last.
        m.d.sync += clear.eq(opening | ~self.aresetn)
        self._reset(m, opening)
        self._count(m, opening, clear)

        # The payload goes to the free bank as it comes. A packet that found none at its start is not taken.
        skipped, lasts, tests, final = Signal(), Signal(), Signal(), Signal(8)
        m.d.comb += [
            chunks.write.eq(receiver.write & chunks.free & ~skipped),
            chunks.address.eq(receiver.address),
            chunks.data.eq(receiver.data),
            chunks.final.eq(final),
            chunks.last.eq(lasts),
        ]
        # Two cycles after a right request, when all that is compared is known; its header still stands then.
        compared, asked = Signal(), Signal()
        m.d.sync += [compared.eq(receiver.good), asked.eq(compared)]
        m.d.sync += skipped.eq((skipped | (receiver.write & ~chunks.free)) & ~asked & ~receiver.bad)

        # What a request says is compared in steps, each into registers, then it acts. Its header is there long before it is known
        # to be right, so what depends on that alone costs no time.
        request = receiver.header
        feeds, opens, fetches, some = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [
            feeds.eq(request.kind.matches(Kind.DATA, Kind.DATA_LAST)),
            lasts.eq(request.kind == Kind.DATA_LAST),
            opens.eq(request.kind.matches(Kind.OPEN, Kind.TEST)),
            tests.eq(request.kind == Kind.TEST),
            fetches.eq(request.kind == Kind.READ),
            some.eq(request.argument[8:] != 0),
            final.eq(receiver.length - 1),
        ]
        known, fresh = Signal(), Signal()       # it names the session; another one, or none
        due = Signal()              # it brings what is expected
        ahead, there = Signal(8), Signal(8)     # results held before the one that it asks for, and all that are held
        held = Signal()             # as many are held
        brings, accept, reads = Signal(), Signal(), Signal()
        want, gives = Signal(Want), Signal()    # the reply; results instead of it
        m.d.sync += [
            known.eq((request.session == session) & self.open),
            fresh.eq(request.session != session),
            due.eq((request.argument == expected) & (receiver.length != 0)),
            ahead.eq(request.argument[:8] - freed),
            there.eq(ring.held),
            held.eq(ahead <= there),
            brings.eq(feeds & known & due),
            accept.eq(compared & feeds & known & due & chunks.free & ~skipped),
            reads.eq(fetches & known & held),
            gives.eq(fetches & known & held & some),
            opening.eq(compared & opens & fresh),
            want.eq(Want.UNKNOWN_KIND),
        ]
        with m.If(feeds | fetches):
            m.d.sync += want.eq(Mux(known, Want.STATUS, Want.NO_SESSION))
        with m.Elif(opens):
            m.d.sync += want.eq(Want.OPENED)
        with m.Elif(request.kind == Kind.IDENTIFY):
            m.d.sync += want.eq(Want.IDENTITY)
        with m.Elif(request.kind == Kind.COUNTERS):
            m.d.sync += want.eq(Want.COUNTED)

        m.d.comb += [
            ring.freed.eq(freed),
            ring.index.eq(responder.index),
            ring.address.eq(responder.address),
            responder.data.eq(ring.data),
            responder.session.eq(session),
            responder.expected.eq(expected),
            responder.done.eq(ring.done),
            responder.first.eq(request.argument[:8]),
            responder.count.eq(request.argument[8:]),
            chunks.commit.eq(accept),
        ]
        m.d.sync += [responder.ask.eq(asked), responder.want.eq(Mux(gives, Want.RESULT, want))]
        with m.If(asked):
            m.d.sync += responder.tag.eq(request.tag)
            with m.If(brings):
                m.d.sync += responder.refused.eq(~accept)
            with m.If(reads):
                m.d.sync += freed.eq(request.argument[:8])
        with m.If(accept):
            m.d.sync += expected.eq(expected + receiver.length)
        with m.If(opening):
            m.d.sync += [session.eq(request.session), self.open.eq(request.session != 0)]
            m.d.sync += [expected.eq(0), freed.eq(0), responder.refused.eq(0)]
            m.d.sync += selftest.run.eq(tests)

        return m

    def _reset(self, m, opening):
        """The network's reset: ``aresetn``."""
        left = Signal(range(RESET_CYCLES + 1), init=RESET_CYCLES)
        m.d.sync += self.aresetn.eq(left == 0)
        with m.If(opening):
            m.d.sync += [left.eq(RESET_CYCLES), self.aresetn.eq(0)]
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)

    def _count(self, m, opening, clear):
        """The four counters, and whether a packet was dropped in this session.

        In a session that is a self-test ``cycles`` counts from the first byte that the network's input is offered until the last
        result is stored.
        """
        counters = Signal(CounterValues)
        responder, receiver = m.submodules.responder, m.submodules.receiver
        m.d.comb += responder.counters.eq(counters)
        testing, done = m.submodules.selftest.run, m.submodules.ring.done
        begins, ends = Signal(), Signal()       # of the cycles of a self-test, each a cycle late
        m.d.sync += [begins.eq(testing & clear), ends.eq(testing & done[TEST_FRAMES.bit_length() - 1])]
        happened = Signal(3)
        m.d.sync += happened.eq(Cat(m.submodules.ring.stored, receiver.bad, self.frames.valid & ~self.frames.ready))
        for counter, event in zip((counters.frames, counters.errors, counters.stalls), happened, strict=True):
            _count_up(m, counter, event, C(0))
        _count_up(m, counters.cycles, ~ends, begins)
        m.d.sync += self.faulty.eq((self.faulty | receiver.bad) & ~opening)


def _count_up(m, counter, event, clear):
    """Add one to ``counter`` where ``event`` is high, set it to 0 where ``clear`` is.

    The carry into the upper 20 bits is known a cycle ahead: the sum of 32 bits at once would be the slowest path of an iCE40.
    """
    low, high, full = counter[:12], counter[12:], Signal()      # full: low is all ones
    m.d.sync += full.eq(low[1:].all() & (low[0] ^ event))
    with m.If(event):
        m.d.sync += [low.eq(low + 1), high.eq(high + full)]
    with m.If(clear):
        m.d.sync += [counter.eq(0), full.eq(0)]
