# amaranth: UnusedElaboratable=no
import random
from types import SimpleNamespace

import pytest
from amaranth import *
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import protocol
from bnnhw.gateware.packets import RequestReceiver
from bnnhw.protocol import Counters, Fault, Identity, Kind

from .link_rig import BYTE_CYCLES, Rig, frames_of, make, record_of


def test_identify():
    async def host(rig):
        for tag in 0xC0, 0xDB, 3:
            reply = await rig.ask(Kind.IDENTIFY, 0x1234, tag)
            assert reply[:6] == (Kind.IDENTITY, 0, tag, 0, 0, 0)
            assert Identity.unpack(reply.payload) == rig.identity
    Rig(make(), host)


def shape():
    return st.tuples(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)).map(
        lambda s: {"lanes": s[0], "frame_bytes": s[0] * s[1], "result_beats": s[2], "bytes_per_beat": s[3]})


@settings(max_examples=10, deadline=None)
@given(shape=shape(), chunk=st.integers(1, 9), p_ready=st.sampled_from([1.0, 0.3]), seed=st.integers(0, 99))
def test_frames(shape, chunk, p_ready, seed):
    """Whole frames, in chunks of any size, through networks of any shape; results one by one and in a row."""
    frames = frames_of(4, shape["frame_bytes"], seed)

    async def host(rig):
        at = await rig.open(0xDBC0)
        for frame in frames:
            await rig.frame(at, frame, chunk)
        await rig.wait(100)
        records = [record_of(frame, rig.identity) for frame in frames]
        for k in range(2):
            reply = await rig.ask(Kind.READ, at.session, 9, k | 1 << 8)
            assert reply == (Kind.RESULT, at.session, 9, at.expected, 4, k, records[k])
        await rig.send(protocol.request(Kind.READ, at.session, 10, 1 | 3 << 8))
        assert [(await rig.reply())[-2:] for _ in range(3)] == [(k, records[k]) for k in (1, 2, 3)]
        reply = await rig.ask(Kind.READ, at.session, 11, 4 | 1 << 8)
        assert reply == (Kind.STATUS, at.session, 11, at.expected, 4, 0, b"")
        assert rig.frames == frames
    Rig(make(**shape), host, p_ready=p_ready)


def test_short_and_long_frames():
    """Each packet of bytes gives one result with its flag, whatever its length; a partial beat is filled with zeros."""
    parts = [b"\x01" * 12, b"\x02" * 5, b"\x03" * 16, b"\x04", b"\x05" * 12]

    async def host(rig):
        at = await rig.open(1)
        for k, part in enumerate(parts):
            await rig.frame(at, part)
            await rig.wait(60)
            reply = await rig.ask(Kind.READ, 1, 0, k | 1 << 8)
            padded = part + bytes(-len(part) % 4)
            assert reply.payload == record_of(padded, rig.identity)
            assert reply.payload[-1] == (len(part) != 12)
    Rig(make(), host)


def test_every_request_may_come_again():
    frames = frames_of(3)

    async def host(rig):
        for tag in range(3):
            assert (await rig.ask(Kind.OPEN, 7, tag))[:6] == (Kind.OPENED, 7, tag, 0, 0, 0)
        assert rig.resets == 2, "at the start and at the first OPEN"
        for k, frame in enumerate(frames):
            for tag in range(3):
                reply = await rig.ask(Kind.DATA_LAST, 7, tag, 12 * k, frame)
                assert reply[:4] == (Kind.STATUS, 7, tag, 12 * k + 12)
        assert (await rig.ask(Kind.OPEN, 7))[:4] == (Kind.OPENED, 7, 0, 36)
        for k in 0, 0, 1, 1, 2, 2:
            reply = await rig.ask(Kind.READ, 7, 0, k | 1 << 8)
            assert reply[4:] == (3, k, record_of(frames[k], rig.identity))
        assert (await rig.ask(Kind.READ, 7, 0, 1 << 8))[4:] == (3, 0, b""), "freed by READ 2"
        assert rig.frames == frames
    Rig(make(), host)


def test_order():
    """A chunk that is not the expected one changes nothing, be it older, newer or of another session."""
    first, second = frames_of(2)

    async def host(rig):
        assert (await rig.ask(Kind.DATA, 5, 1, 0, first))[:6] == (Kind.ERROR, 0, 1, 0, 0, Fault.NO_SESSION)
        assert (await rig.ask(Kind.DATA, 0, 1, 0, first))[:6] == (Kind.ERROR, 0, 1, 0, 0, Fault.NO_SESSION)
        at = await rig.open(5)
        for wrong in 1, 12, 256, 0x8000, 0xFFFF:
            assert (await rig.ask(Kind.DATA_LAST, 5, 2, wrong, first))[:5] == (Kind.STATUS, 5, 2, 0, 0)
        for other in 4, 0x0105, 0:
            assert (await rig.ask(Kind.DATA_LAST, other, 3, 0, first))[:6] == (Kind.ERROR, 5, 3, 0, 0, Fault.NO_SESSION)
            assert (await rig.ask(Kind.READ, other, 3, 1 << 8))[:6] == (Kind.ERROR, 5, 3, 0, 0, Fault.NO_SESSION)
        await rig.frame(at, second)
        await rig.wait(50)
        assert rig.frames == [second]
        assert (await rig.ask(0x55, 5, 6))[:6] == (Kind.ERROR, 5, 6, 12, 1, Fault.UNKNOWN_KIND)
        assert (await rig.ask(Kind.DATA_LAST, 5, 7, 12, b""))[:5] == (Kind.STATUS, 5, 7, 12, 1), "empty: not taken"
    Rig(make(), host)


def test_new_session_in_the_middle():
    """OPEN forgets half a frame, results, and the reply that is being sent; the first frame after it is exact."""
    old, new = frames_of(2)

    async def host(rig):
        at = await rig.open(5)
        await rig.frame(at, old)
        await rig.frame(at, old[:7], last=False)
        await rig.send(protocol.request(Kind.IDENTIFY, 5, 9))
        await rig.send(protocol.request(Kind.OPEN, 6, 10))
        assert (await rig.reply()) == (Kind.OPENED, 6, 10, 0, 0, 0, b""), "the identity was broken off"
        assert rig.splitter.bad == 1
        await rig.frame(SimpleNamespace(session=6, expected=0), new)
        await rig.wait(50)
        assert (await rig.ask(Kind.READ, 6, 0, 1 << 8))[4:] == (1, 0, record_of(new, rig.identity))
        assert rig.frames == [old, new]
        assert (await rig.ask(Kind.OPEN, 0))[:2] == (Kind.OPENED, 0), "0 closes"
        assert (await rig.ask(Kind.DATA, 6, 0, 12, new)).detail == Fault.NO_SESSION
    Rig(make(), host)


def test_ring_is_full():
    """With nobody reading, results wait, then frames wait, then chunks are refused; nothing is lost."""
    async def host(rig):
        slots, at = rig.identity.slots, await rig.open(3)
        sent, refused = frames_of(slots + 20), 0
        for frame in sent:
            reply = await rig.ask(Kind.DATA_LAST, 3, 0, at.expected, frame)
            if reply.expected == at.expected:
                refused += 1
                break
            at.expected = reply.expected
        accepted = at.expected // 12
        assert refused == 1 and reply.detail == 1 and reply.done == slots and slots < accepted < slots + 6
        for k in range(accepted):
            reply = await rig.ask(Kind.READ, 3, 0, k | 1 << 8)
            assert reply[-2:] == (k, record_of(sent[k], rig.identity))
            await rig.wait(30)
        await rig.frame(at, sent[accepted])
        await rig.wait(60)
        assert (await rig.ask(Kind.READ, 3, 0, accepted | 1 << 8)).payload == record_of(sent[accepted], rig.identity)
        assert rig.frames == sent[:accepted + 1]
        assert (await rig.ask(Kind.DATA_LAST, 3, 0, 0, bytes(12))).detail == 0
    Rig(make(result_beats=10, bytes_per_beat=3), host)


def test_indices_wrap():
    """More than 256 results; READ frees those before the one it names."""
    async def host(rig):
        at = await rig.open(0xFFFF)
        for k in range(272):
            await rig.send(protocol.request(Kind.DATA_LAST, 0xFFFF, 0, 2 * k, bytes([k % 256, 1])))
            if k % 16 == 15:
                rig.replies.clear()
                await rig.wait(300)
                rig.replies.clear()
                reply = await rig.ask(Kind.READ, at.session, 7, k % 256 | 1 << 8)
                assert reply == (Kind.RESULT, at.session, 7, 2 * k + 2, (k + 1) % 256, k % 256,
                                 bytes([(k % 256 + 1) % 10, 0]))
    Rig(make(frame_bytes=2, lanes=2, result_beats=1, bytes_per_beat=1), host)


def test_read_of_what_is_not_there():
    async def host(rig):
        await rig.open(3)
        for index in 0, 1, 17, 100, 200, 255:
            for count in 0, 1, 255:
                assert (await rig.ask(Kind.READ, 3, 1, index | count << 8)) == (Kind.STATUS, 3, 1, 0, 0, 0, b"")
    Rig(make(), host)


def test_damage_is_dropped():
    """Each byte of a packet altered, missing, doubled or lost by the line: no reply, one error counted, nothing done."""
    good = protocol.request(Kind.DATA_LAST, 3, 0x55, 0, frames_of(1)[0])

    async def host(rig):
        at, errors = await rig.open(3), 0
        for place in range(1, len(good) - 1):
            altered = bytearray(good)
            altered[place] ^= 0x11
            for line, lost in ((altered, ()), (good[:place] + good[place + 1:], ()),
                               (good[:place] + good[place:place + 1] + good[place:], ()), (good, (place,))):
                await rig.send(line, lost)
                errors += 1
        counted = Counters.unpack((await rig.ask(Kind.COUNTERS, 0, 9)).payload)
        assert counted.errors == errors and counted.frames == 0 and not rig.replies
        assert rig.ctx.get(rig.dut.faulty)
        await rig.frame(at, frames_of(1)[0])
        await rig.wait(50)
        assert rig.frames == frames_of(1)
    Rig(make(), host)


def test_damage_without_the_check(monkeypatch):
    """The test above would fail without the CRC: the altered payload then reaches the network."""
    monkeypatch.setattr(RequestReceiver, "crc_right", lambda self, crc: Const(1))
    line = bytearray(protocol.request(Kind.DATA_LAST, 3, 0x55, 0, bytes(12)))
    line[10] ^= 0x10

    async def host(rig):
        await rig.open(3)
        await rig.send(line)
        await rig.wait(100)
        assert rig.frames == [bytes(3) + b"\x10" + bytes(8)]
    Rig(make(), host)


@pytest.mark.parametrize("size, taken", [(252, True), (253, False), (256, False), (257, False), (300, False)])
def test_longest_chunk(size, taken):
    """252 bytes fit; a longer chunk is an error even if its CRC is right."""
    payload = random.Random(size).randbytes(size)

    async def host(rig):
        at = await rig.open(3)
        await rig.send(protocol.request(Kind.DATA_LAST, 3, 0, 0, payload))
        if taken:
            assert (await rig.reply()).expected == size
        else:
            await rig.silence()
            assert Counters.unpack((await rig.ask(Kind.COUNTERS)).payload).errors == 1
        await rig.frame(SimpleNamespace(session=3, expected=size * taken), b"\x01" * 252)
        await rig.wait(600)
        assert rig.frames == [payload] * taken + [b"\x01" * 252]
        assert at.session == 3
    Rig(make(frame_bytes=252), host)


def test_too_short():
    """Packets shorter than a header and its CRC are errors; nothing between two ENDs is not even that."""
    async def host(rig):
        for size in range(1, 10):
            await rig.send(protocol.frame(bytes([Kind.IDENTIFY] * size))[:size + 1] + b"\xC0")
        await rig.send(b"\xC0" * 5)
        await rig.send(protocol.frame(bytes([Kind.IDENTIFY] * 5)))
        counted = Counters.unpack((await rig.ask(Kind.COUNTERS)).payload)
        assert counted.errors == 10 and not rig.replies
    Rig(make(), host)


def test_counters():
    """Cycles and stalls are exact: read twice, they differ by the cycles between the two requests' ends."""
    async def host(rig):
        at = await rig.open(3)
        first = Counters.unpack((await rig.ask(Kind.COUNTERS, 0, 1)).payload)
        await rig.wait(700)
        rig.hold = True
        await rig.frame(at, frames_of(1)[0])
        rig.hold = False
        await rig.wait(100)
        second = Counters.unpack((await rig.ask(Kind.COUNTERS, 0, 2)).payload)
        assert second.frames - first.frames == 1 and second.errors == 0
        third = Counters.unpack((await rig.ask(Kind.COUNTERS, 0, 2)).payload)
        assert third.stalls == second.stalls > first.stalls == 0
        reply_cycles = third.cycles - second.cycles
        line = len(protocol.request(Kind.COUNTERS, 0, 2)) * BYTE_CYCLES
        assert line < reply_cycles < line + 40 * BYTE_CYCLES
    Rig(make(), host)


def test_replies_wait():
    """Requests that end while a reply is sent: statuses become one, and of the others the last is answered."""
    async def host(rig):
        at = await rig.open(3)
        await rig.send(protocol.request(Kind.IDENTIFY, 3, 1))
        for k, frame in enumerate(frames_of(2)):
            await rig.send(protocol.request(Kind.DATA_LAST, 3, 2 + k, 12 * k, frame))
        await rig.send(protocol.request(Kind.COUNTERS, 3, 5))
        assert (await rig.reply()).kind == Kind.IDENTITY
        reply = await rig.reply()
        assert (reply.kind, reply.tag, reply.expected) == (Kind.COUNTED, 5, 24)
        await rig.silence()
        assert at.session == 3
    Rig(make(), host)
