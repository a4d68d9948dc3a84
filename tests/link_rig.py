"""Drives the board's link as a host would, and stands in for the network behind it."""
import random
from types import SimpleNamespace

from amaranth import *
from amaranth.sim import Simulator

from bnnhw import protocol
from bnnhw.gateware.link import Link, identity_of
from bnnhw.protocol import Kind

NETWORK = bytes(range(0xB0, 0xD0)) # has 0xC0
BYTE_CYCLES = 12                   # between bytes of the line; a serial line has at least 40


def make(frame_bytes=12, lanes=4, result_beats=3, bytes_per_beat=2):
    return Link(identity_of(NETWORK, clock_hz=12_345_678, frame_bytes=frame_bytes, lanes=lanes, result_beats=result_beats,
                            bytes_per_beat=bytes_per_beat, scores=result_beats - 1))


def result_of(frame, identity):
    """Beats that the network of these tests gives for a frame, its bytes."""
    scores = [sum(frame) * (k + 1) % 2 ** (8 * identity.bytes_per_beat) for k in range(identity.scores)]
    return [*scores, sum(frame) % 10]


def record_of(frame, identity):
    """The result as the link sends it."""
    beats = b"".join(beat.to_bytes(identity.bytes_per_beat, "little") for beat in result_of(frame, identity))
    return beats + bytes([len(frame) != identity.frame_bytes])


class Rig:
    """A link with a network behind it and the test as its host.

    ``host`` is a coroutine function; it gets the rig and awaits :meth:`send`, :meth:`reply`, :meth:`ask`, :meth:`wait`.
    """
    def __init__(self, dut, host, *, p_ready=1.0, hold=False):
        self.dut, self.identity = dut, dut.identity
        self.p_ready, self.hold = p_ready, hold
        self.replies = []
        self.splitter = protocol.Splitter(protocol.Reply)
        self.resets = 0
        self.frames = []

        async def bench(ctx):
            self.ctx = ctx
            ctx.set(dut.o.ready, 0)
            await self.wait(20)
            await host(self)
        sim = Simulator(dut)
        sim.add_clock(1e-6)
        sim.add_testbench(self._line, background=True)
        sim.add_testbench(self._network, background=True)
        sim.add_testbench(bench)
        sim.run()

    async def _line(self, ctx):
        """Takes a byte of the replies every few cycles."""
        dut, wait = self.dut, 0
        while True:
            ctx.set(dut.o.ready, wait == 0)
            *_, valid, byte = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if wait == 0 and valid:
                self.replies += self.splitter.feed(bytes([byte]))
                wait = BYTE_CYCLES
            wait = max(0, wait - 1)

    async def _network(self, ctx):
        """Takes frames and gives results, one at a time."""
        dut, rng = self.dut, random.Random("network")
        lanes, frame, beats, was_reset = self.identity.lanes, bytearray(), [], False
        while True:
            ready = not self.hold and not beats and rng.random() < self.p_ready
            ctx.set(dut.frames.ready, ready)
            if beats:
                error = len(self.frames[-1]) != self.identity.frame_bytes
                ctx.set(dut.results.payload, {"data": beats[0], "last": len(beats) == 1, "error": error})
            ctx.set(dut.results.valid, bool(beats))
            *_, aresetn, valid, word, taken = await ctx.tick().sample(
                dut.aresetn, dut.frames.valid, dut.frames.payload, dut.results.ready)
            if not aresetn:
                frame.clear()
                beats.clear()
                self.resets += not was_reset
            was_reset = not aresetn
            if aresetn and beats and taken:
                beats.pop(0)
            if aresetn and ready and valid:
                frame += word.data.to_bytes(lanes, "little")
                if word.last:
                    self.frames.append(bytes(frame))
                    beats = result_of(frame, self.identity)
                    frame.clear()

    async def wait(self, cycles):
        await self.ctx.tick().repeat(cycles)

    async def send(self, data, lost=()):
        """Put bytes on the line; those whose places are in ``lost`` are reported lost."""
        for place, byte in enumerate(data):
            self.ctx.set(self.dut.lost, place in lost)
            self.ctx.set(self.dut.i.valid, place not in lost)
            self.ctx.set(self.dut.i.payload, byte)
            *_, ready = await self.ctx.tick().sample(self.dut.i.ready)
            assert ready, "a byte of the line came while the link was not ready"
            self.ctx.set(self.dut.i.valid, 0)
            self.ctx.set(self.dut.lost, 0)
            await self.wait(BYTE_CYCLES - 1)

    async def reply(self, max_cycles=3000):
        """The next reply."""
        for _ in range(max_cycles):
            if self.replies:
                return self.replies.pop(0)
            await self.ctx.tick()
        raise AssertionError(f"no reply in {max_cycles} cycles")

    async def ask(self, kind, session=0, tag=0, argument=0, payload=b""):
        """Send a request and return the reply."""
        await self.send(protocol.request(kind, session, tag, argument, payload))
        reply = await self.reply()
        assert reply.tag == tag
        return reply

    async def silence(self):
        """No reply comes."""
        await self.wait(1000)
        assert not self.replies

    async def open(self, session):
        reply = await self.ask(Kind.OPEN, session)
        assert reply == (Kind.OPENED, session, 0, 0, 0, 0, b"")
        return SimpleNamespace(session=session, expected=0, rig=self)

    async def frame(self, at, data, chunk=252, last=True):
        """Send a frame in chunks, each acknowledged."""
        for start in range(0, len(data), chunk):
            part = data[start:start + chunk]
            ends = last and start + len(part) == len(data)
            reply = await self.ask(Kind.DATA_LAST if ends else Kind.DATA, at.session, start % 256, at.expected, part)
            at.expected = (at.expected + len(part)) % 2 ** 16
            assert reply[:4] == (Kind.STATUS, at.session, start % 256, at.expected)


def frames_of(count, size=12, seed=0):
    rng = random.Random(seed)
    return [rng.randbytes(size) for _ in range(count)]
