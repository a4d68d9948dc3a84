"""The bytes between host and board: packet kinds, fields, SLIP framing, CRC. ``docs/protocol.md`` explains every one.

Plain Python without dependencies; the gateware takes its numbers from here too.
"""

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

__all__ = ["VERSION", "TEST_FRAMES", "TEST_SEED", "TEST_TAPS", "Kind", "Fault", "Identity", "Counters", "Request", "Reply",
           "Splitter", "frame", "greatest_bytes", "request", "reply", "test_frames"]

VERSION = 2

END, ESC, ESC_END, ESC_ESC = 0xC0, 0xDB, 0xDC, 0xDD     # SLIP, RFC 1055
CRC_BYTES = 4
REQUEST = struct.Struct("<BHBH")        # kind, session, tag, argument
REPLY = struct.Struct("<BHBHBB")        # kind, session, tag, expected, done, detail
CHUNK_BYTES_MIN = 1
CHUNK_BYTES_MAX = 256 - CRC_BYTES       # the board writes the CRC behind the payload, into one bank of 256 bytes

# The self-test's frames: a power of two, below the slots of any board; x^16 + x^14 + x^13 + x^11 + 1 has the period 65,535.
TEST_FRAMES = 8
TEST_SEED, TEST_TAPS = 0xACE1, 0b101101


class Kind(IntEnum):
    """First byte of a packet. Replies have the top bit set."""
    IDENTIFY = 0x01
    OPEN = 0x02
    DATA = 0x03
    READ = 0x04
    COUNTERS = 0x05
    DATA_LAST = 0x06
    TEST = 0x07
    IDENTITY = 0x81
    OPENED = 0x82
    STATUS = 0x83
    RESULT = 0x84
    COUNTED = 0x85
    ERROR = 0xFF


class Fault(IntEnum):
    """Detail of an ERROR reply."""
    UNKNOWN_KIND = 1
    NO_SESSION = 2


class Request(NamedTuple):
    kind: int
    session: int
    tag: int
    argument: int
    payload: bytes = b""


class Reply(NamedTuple):
    kind: int
    session: int
    tag: int
    expected: int
    done: int
    detail: int
    payload: bytes = b""


@dataclass(frozen=True)
class Identity:
    """What a board says of itself.

    Attributes
    ----------
    network : bytes
        SHA-256 of the network, 32 bytes.
    clock_hz : int
        Clock of the network and of the link.
    frame_bytes : int
        Bytes of one input frame.
    lanes : int
        Bytes that the network takes per cycle at most.
    result_beats, bytes_per_beat : int
        Beats of one result (the scores, then the class) and the bytes of each.
    scores : int
        How many of the beats are scores; 0 where only the class comes.
    chunk_bytes : int
        Greatest payload of a DATA packet.
    slots : int
        Results that the board holds until the host has them.
    greatest : int
        The greatest code of an input element; its bytes are an element's.
    version : int
        Of the protocol.
    """
    network: bytes
    clock_hz: int
    frame_bytes: int
    lanes: int
    result_beats: int
    bytes_per_beat: int
    scores: int
    chunk_bytes: int = CHUNK_BYTES_MAX
    slots: int = 16
    greatest: int = 255
    version: int = VERSION

    LAYOUT = struct.Struct("<B32sIIHHBHHBI")

    def __post_init__(self):
        if len(self.network) != 32:
            raise ValueError(f"a network's SHA-256 has 32 bytes, not {len(self.network)}")

    @property
    def record_bytes(self):
        """Bytes of a result: its beats, then one with the frame error flag."""
        return self.result_beats * self.bytes_per_beat + 1

    def pack(self):
        return self.LAYOUT.pack(self.version, self.network, self.clock_hz, self.frame_bytes, self.lanes,
                                self.result_beats, self.bytes_per_beat, self.scores, self.chunk_bytes, self.slots, self.greatest)

    @classmethod
    def unpack(cls, payload):
        """Raises :exc:`ValueError` where the length is wrong."""
        if len(payload) != cls.LAYOUT.size:
            raise ValueError(f"an identity has {cls.LAYOUT.size} bytes, not {len(payload)}")
        version, *fields = cls.LAYOUT.unpack(payload)
        return cls(*fields, version=version)


def greatest_bytes(greatest):
    """The bytes of the greatest code, the least significant first."""
    return greatest.to_bytes(max(1, -(-greatest.bit_length() // 8)), "little")


def test_frames(identity):
    """The frames of the board's self-test, a list of bytes.

    Each byte is 0, or that of the greatest code at this place of an element, by the lowest bit of a shift register of 16 bits.
    It begins at :data:`TEST_SEED`, goes on through all frames and takes in the parity of its bits :data:`TEST_TAPS` at the top.
    """
    state, ones, frames = TEST_SEED, greatest_bytes(identity.greatest), []
    for _ in range(TEST_FRAMES):
        frame = bytearray()
        for place in range(identity.frame_bytes):
            frame.append(ones[place % len(ones)] * (state & 1))
            state = state >> 1 | (state & TEST_TAPS).bit_count() % 2 << 15
        frames.append(bytes(frame))
    return frames


class Counters(NamedTuple):
    """Counts since the board was configured or reset, each modulo 2**32.

    After a self-test ``cycles`` counts something else: see :attr:`Kind.TEST` in ``docs/protocol.md``.
    """
    frames: int     # results that the network gave
    errors: int     # packets dropped: wrong CRC, broken framing, wrong length
    stalls: int     # cycles in which input waited for the network
    cycles: int     # clock cycles

    def pack(self):
        return struct.pack("<4I", *self)

    @classmethod
    def unpack(cls, payload):
        return cls(*struct.unpack("<4I", payload))


def frame(body):
    """``body`` with its CRC, escaped, between two END bytes."""
    body += zlib.crc32(body).to_bytes(CRC_BYTES, "little")
    escaped = body.replace(bytes([ESC]), bytes([ESC, ESC_ESC])).replace(bytes([END]), bytes([ESC, ESC_END]))
    return bytes([END]) + escaped + bytes([END])


def request(kind, session=0, tag=0, argument=0, payload=b""):
    """The bytes of a request on the wire."""
    return frame(REQUEST.pack(kind, session, tag, argument) + payload)


def reply(kind, session=0, tag=0, expected=0, done=0, detail=0, payload=b""):
    """The bytes of a reply on the wire."""
    return frame(REPLY.pack(kind, session, tag, expected, done, detail) + payload)


class Splitter:
    """Finds the good packets in a stream of bytes.

    Parameters
    ----------
    packet : type
        :class:`Request` on the board's side, :class:`Reply` on the host's.

    Attributes
    ----------
    bad : int
        Packets dropped: wrong CRC, wrong escape, too short.
    """
    def __init__(self, packet):
        self.packet = packet
        self.layout = {Request: REQUEST, Reply: REPLY}[packet]
        self.bad = 0
        self._held = bytearray()

    def feed(self, data):
        """Packets that ``data`` completes, in order."""
        *ended, rest = bytes(self._held + data).split(bytes([END]))
        self._held = bytearray(rest)
        packets = []
        for escaped in filter(None, ended):
            body = self._checked(escaped)
            if body is None:
                self.bad += 1
            else:
                packets.append(self.packet(*self.layout.unpack_from(body), body[self.layout.size:]))
        return packets

    def _checked(self, escaped):
        first, *parts = escaped.split(bytes([ESC]))
        body = bytearray(first)
        for part in parts:
            if part[:1] not in (bytes([ESC_END]), bytes([ESC_ESC])):
                return None
            body += bytes([END if part[0] == ESC_END else ESC]) + part[1:]
        if len(body) < self.layout.size + CRC_BYTES:
            return None
        if zlib.crc32(body[:-CRC_BYTES]).to_bytes(CRC_BYTES, "little") != body[-CRC_BYTES:]:
            return None
        return bytes(body[:-CRC_BYTES])
