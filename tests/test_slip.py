# amaranth: UnusedElaboratable=no
import random

import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import protocol
from bnnhw.gateware.slip import SlipDecoder, SlipEncoder
from bnnhw.protocol import END, ESC, ESC_END, ESC_ESC

from . import streams

STALLS = [(1.0, 1.0), (0.4, 1.0), (1.0, 0.4), (0.6, 0.6)]
special = st.sampled_from([END, ESC, ESC_END, ESC_ESC, 0, 255]) | st.integers(0, 255)
packets = st.lists(st.lists(special, min_size=1, max_size=8).map(bytes), min_size=1, max_size=4)


def escaped(packet):
    """RFC 1055, written down once more."""
    table = {END: bytes([ESC, ESC_END]), ESC: bytes([ESC, ESC_ESC])}
    return b"".join(table.get(byte, bytes([byte])) for byte in packet)


def split(tokens):
    """Packets and their ``bad`` flags from the decoder's tokens."""
    found, current = [], bytearray()
    for token in tokens:
        if token.end:
            found.append((bytes(current), bool(token.bad)))
            current.clear()
        else:
            current.append(token.data)
    assert not current
    return found


def decode(line, p_valid=1.0, p_ready=1.0):
    """Packets that a decoder finds in ``line``; None in it stands for a byte that the line lost."""
    dut, tokens = SlipDecoder(), []

    async def bench(ctx):
        rng, offered = random.Random("bench"), False
        rest, after = list(line), 60        # cycles in which the last token goes
        while rest or after:
            lost = bool(rest) and rest[0] is None
            offered = bool(rest) and not lost and (offered or rng.random() < p_valid)
            after -= not rest
            ctx.set(dut.lost, lost)
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.i.payload, rest[0] or 0 if rest else 0)
            ctx.set(dut.o.ready, rng.random() < p_ready)
            *_, taken, token, valid, ready = await ctx.tick().sample(dut.i.ready, dut.o.payload, dut.o.valid, dut.o.ready)
            if valid and ready:
                tokens.append(token)
            if lost or offered and taken:
                rest.pop(0)
                offered = False

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()
    return split(tokens)


@settings(max_examples=30, deadline=None)
@given(packets=packets, stalls=st.sampled_from(STALLS))
def test_encoder(packets, stalls):
    tokens = [token for packet in packets
              for token in [*({"data": byte, "end": 0} for byte in packet), {"data": 0xC0, "end": 1}]]
    line = b"".join(bytes([END]) + escaped(packet) + bytes([END]) for packet in packets)
    taken, cycles = streams.run(SlipEncoder(), tokens, count=len(line), p_valid=stalls[0], p_ready=stalls[1])
    assert bytes(taken) == line
    if stalls == (1.0, 1.0):
        assert cycles == len(line), "one byte per cycle"


@settings(max_examples=30, deadline=None)
@given(packets=packets, between=st.integers(1, 3), stalls=st.sampled_from(STALLS))
def test_decoder(packets, between, stalls):
    """Any number of END bytes between packets, none lost, none invented."""
    line = bytes([END]) * between + b"".join(escaped(packet) + bytes([END]) * between for packet in packets)
    assert decode(line, p_valid=stalls[0], p_ready=stalls[1]) == [(packet, False) for packet in packets]


@pytest.mark.parametrize("wrong", [bytes([ESC, 0x41]), bytes([ESC, ESC]), bytes([0x41, ESC])])
def test_wrong_escape(wrong):
    """ESC before anything but its two bytes spoils the packet, not the next."""
    found = decode(bytes([END]) + wrong + bytes([END, 0x42, ESC, ESC_END, END]))
    assert [bad for _, bad in found] == [True, False]
    assert found[1][0] == bytes([0x42, END])


def test_lost_byte():
    """A byte lost on the line spoils the packet around it, even the first byte."""
    found = decode([END, None, 1, END, 2, END, 3, None, END, 4, END])
    assert found == [(b"\x01", True), (b"\x02", False), (b"\x03", True), (b"\x04", False)]


@settings(max_examples=200, deadline=None)
@given(bodies=st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=300)), min_size=1, max_size=5), seed=st.integers(0, 9))
def test_splitter(bodies, seed):
    """The host's decoder gives back what the encoders made, however the bytes arrive."""
    line = b"".join(protocol.request(kind, 0xC0DB, 7, 0xDBC0, payload) for kind, payload in bodies)
    splitter, rng, found = protocol.Splitter(protocol.Request), random.Random(seed), []
    while line:
        size = rng.randint(1, 40)
        found += splitter.feed(line[:size])
        line = line[size:]
    assert found == [(kind, 0xC0DB, 7, 0xDBC0, payload) for kind, payload in bodies]
    assert splitter.bad == 0


@settings(max_examples=200, deadline=None)
@given(payload=st.binary(max_size=40), data=st.data())
def test_splitter_drops_damage(payload, data):
    """A packet with one byte altered or missing is dropped, and the next one is found."""
    line = bytearray(protocol.reply(0x84, 1, 2, 3, 4, 5, payload))
    place = data.draw(st.integers(1, len(line) - 2))
    if data.draw(st.booleans()):
        del line[place]
    else:
        line[place] ^= data.draw(st.integers(1, 255))
    splitter = protocol.Splitter(protocol.Reply)
    good = protocol.reply(0x83, 1, 2, 3, 4, 5)
    assert [packet.kind for packet in splitter.feed(bytes(line) + good)] == [0x83]
    assert splitter.bad >= 1
