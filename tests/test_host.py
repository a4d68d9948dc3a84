import random
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import session as session_module
from bnnhw.gateware.link import identity_of
from bnnhw.host import Board, unpack_records
from bnnhw.protocol import Identity
from bnnhw.session import BoardError, Session

from .device import BYTE_S, Device, Noise, converse

NETWORK = bytes(range(32))


def identity(frame_bytes=784, result_beats=11, bytes_per_beat=2):
    return identity_of(NETWORK, clock_hz=12_000_000, frame_bytes=frame_bytes, lanes=1, result_beats=result_beats,
                       bytes_per_beat=bytes_per_beat, scores=result_beats - 1)


def answer(frame):
    """The modelled network: beats that depend on every byte and its place."""
    rng = random.Random(frame)
    return rng.randbytes(22)


def frames_of(count, size=784):
    rng = random.Random(count)
    return [rng.randbytes(size) for _ in range(count)]


def expected(frames):
    return [answer(frame) + b"\0" for frame in frames]


def talk(frames, *, frame_steps=1, seed=1, **line):
    board = identity(len(frames[0]))
    session = Session(board, frames, seed=seed)
    seconds = converse(session, Device(board, answer, frame_steps=frame_steps), **line)
    assert session.records == expected(frames)
    return session, seconds


def test_quiet_line():
    """Nothing is sent twice, and the line is busy all the time: the overhead of packets and the last answer stay small."""
    frames = frames_of(40)
    session, seconds = talk(frames)
    assert (session.resent, session.reopened, session.bad) == (0, 0, 0)
    assert seconds < 1.1 * 40 * 784 * BYTE_S


@pytest.mark.parametrize("latency_ms", [1, 4, 16])
def test_latency(latency_ms):
    """A USB adapter answers milliseconds later; the rate stays."""
    frames = frames_of(80)
    session, seconds = talk(frames, latency_s=latency_ms / 1000)
    assert session.resent == 0
    assert seconds < 1.1 * 80 * 784 * BYTE_S + 15 * latency_ms / 1000


@pytest.mark.parametrize("seed", range(4))
def test_noise(seed):
    """1 % of the bytes flipped and 1 % dropped, both ways, and the board reset in the middle."""
    frames = frames_of(30)
    session, seconds = talk(frames, seed=seed, noise=(Noise(seed, 0.01, 0.01), Noise(seed + 100, 0.01, 0.01)),
                            reset_at=[60_000])
    assert session.reopened == 1 and session.resent > 10 and session.bad > 10
    assert seconds < 12 * 30 * 784 * BYTE_S


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 40), st.integers(1, 300), st.sampled_from([0, 0.002, 0.01, 0.02]),
       st.sampled_from([0, 0.0003, 0.004]), st.sampled_from([1, 500, 5000]), st.lists(st.integers(10, 60_000), max_size=3))
def test_any_line(seed, count, size, noise, latency_s, frame_steps, resets):
    """All results, right and in order, whatever the line, the network and the resets."""
    talk(frames_of(count, size), seed=seed, latency_s=latency_s, frame_steps=frame_steps, reset_at=resets,
         noise=(Noise(seed, noise, noise), Noise(~seed, noise, noise)), max_s=60)


def test_slow_network():
    """Where the network is the bottleneck, refused chunks cost little: half a frame waits in the board, half is sent after."""
    frames = frames_of(30)
    session, seconds = talk(frames, frame_steps=3000)
    assert 30 * 3000 * BYTE_S < seconds < 1.25 * 30 * 3000 * BYTE_S
    assert session.resent < 30 * 10


def test_more_than_the_counters_hold():
    """More than 256 results, more than 65,536 bytes."""
    talk(frames_of(600, 150))
    talk(frames_of(300, 300), noise=(Noise(1, 0.002, 0.002), Noise(2, 0.002, 0.002)))


def test_chunks_follow_the_line():
    frames = frames_of(20)
    board = identity()
    session = Session(board, frames, seed=1)
    noisy = Noise(3, 0.01, 0.01)
    device = Device(board, answer)
    sizes = []
    converse(session, device, noise=(noisy, None))
    sizes.append(session._chunk)
    quiet = Session(board, frames_of(60), seed=2)
    converse(quiet, device)
    sizes.append(quiet._chunk)
    assert sizes[0] < 100 and sizes[1] == board.chunk_bytes


def test_board_reset_again_and_again():
    board = identity()
    with pytest.raises(BoardError, match="^the board lost 11 sessions in a row: it is reset again and again"):
        converse(Session(board, frames_of(10), seed=1), Device(board, answer), reset_at=range(0, 10 ** 6, 500))


def test_silent_board():
    class Silent:
        def step(self, byte):
            return None
    with pytest.raises(BoardError, match=r"^the board has not answered for 15 s$"):
        converse(Session(identity(), frames_of(1), seed=1), Silent())


def test_stuck_network(monkeypatch):
    """A network that never ends is told from one that is slow."""
    monkeypatch.setattr(session_module, "STUCK_S", 0.5)
    board = identity()
    with pytest.raises(BoardError, match=r"^the board answers, but its network gave no result for 0.5 s$"):
        converse(Session(board, frames_of(3), seed=1), Device(board, answer, frame_steps=10 ** 9))
    talk(frames_of(3), frame_steps=30_000)


def test_without_pyserial(monkeypatch):
    monkeypatch.setitem(sys.modules, "serial", None)
    with pytest.raises(BoardError, match=r"^a board needs pyserial: pip install 'bnnhw\[host\]'$"):
        Board("/dev/null")


def test_no_frames():
    assert Session(identity(), [], seed=1).done


def test_records():
    """Scores are two's complement, the class is not."""
    board = identity(result_beats=3, bytes_per_beat=2)
    values, flagged = unpack_records([bytes([0xFF, 0xFF, 0x00, 0x80, 0x00, 0x80, 1]), bytes([1, 0, 0, 1, 2, 0, 0])], board)
    assert values.tolist() == [[-1, -32768, 32768], [1, 256, 2]]
    assert flagged.tolist() == [True, False]
    assert values.dtype == np.int64


def test_identity():
    board = identity()
    assert Identity.unpack(board.pack()) == board and len(board.pack()) == 55
    with pytest.raises(ValueError, match="^an identity has 55 bytes, not 54$"):
        Identity.unpack(board.pack()[:-1])
