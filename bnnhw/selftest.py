"""What a board's self-test must give: the results by the golden model, the cycles by the timing of the plan."""

import zlib
from dataclasses import dataclass, replace

import numpy as np

from . import reference, schedule
from .errors import UserError
from .plan import Element
from .protocol import TEST_FRAMES, test_frames

__all__ = ["Expected", "SelfTestError", "check", "expected", "signature"]


class SelfTestError(UserError):
    """A board that computes something else than the golden model, or in another time."""


@dataclass(frozen=True)
class Expected:
    """Records of the results, as the board sends them, and the cycles of the whole test."""
    records: list
    cycles: int


def signature(records):
    """CRC-32 of the results, 8 hexadecimal digits."""
    return f"{zlib.crc32(b''.join(records)):08x}"


class _Packer:
    """Timing of :class:`bnnhw.gateware.chunks.BeatPacker` with whole frames: ``lanes`` bytes are taken, then a beat is given."""
    idle = True

    def __init__(self, lanes):
        self.lanes = self.left = lanes
        self.valid, self.ready = False, True

    def step(self, push, pop):
        self.left = self.lanes if pop else self.left - push
        self.valid, self.ready = self.left == 0, self.left != 0


class _Ring:
    """Timing of :class:`bnnhw.gateware.results.ResultRing` with room: gives a word when a result is stored."""
    def __init__(self, beats, bytes_per_beat):
        self.beats, self.bytes_per_beat = beats, bytes_per_beat
        self.left = self.taken = 0
        self.valid, self.ready, self.idle = False, True, True

    def step(self, push, pop):
        if pop:
            self.taken = 0
        elif self.left:
            self.left -= 1
        elif push:
            self.left, self.taken = self.bytes_per_beat, self.taken + 1
        self.valid = self.left == 0 and self.taken == self.beats
        self.ready, self.idle = self.left == 0 and not self.valid, self.left == 0


def _cycles(plan, identity):
    around, *rest = plan.framed
    frame, lanes = identity.frame_bytes, identity.lanes
    elements = [Element("bytes", (None,), ("bytes",), None, lambda: _Packer(lanes), frame, frame // lanes),
                replace(around, sources=("bytes", *around.sources[1:])), *rest,
                Element("ring", ("m_axis",), ("ring",), None, lambda: _Ring(plan.result_beats, plan.bytes_per_beat),
                        plan.result_beats, 1)]
    found = schedule.run(elements, frame, 1, TEST_FRAMES)
    return found.given[-1] - found.accepted[0] + 1


def expected(plan, identity):
    """What a board with ``plan``'s accelerator gives.

    Parameters
    ----------
    plan : Plan
    identity : Identity
        :func:`bnnhw.bitstream.identity` of it.

    Returns
    -------
    Expected
    """
    network = plan.network
    type = network.types[network.inputs[0]]
    data = np.frombuffer(b"".join(test_frames(identity)), np.uint8).astype(np.int64)
    codes = (data.reshape(-1, plan.element_bytes) << 8 * np.arange(plan.element_bytes)).sum(axis=1)
    x = type.lo + type.step * codes.reshape(TEST_FRAMES, *type.shape)
    output = network.outputs[0]
    scores = network.operations[output].inputs[0]
    edges = reference.run(network, x, keep=[scores, output])
    beats = np.concatenate([*([edges[scores].reshape(TEST_FRAMES, -1)] if plan.scores else []), edges[output][:, None]], axis=1)
    size, modulus = plan.bytes_per_beat, 1 << 8 * plan.bytes_per_beat
    records = [b"".join((beat % modulus).to_bytes(size, "little") for beat in row) + b"\0" for row in beats.tolist()]
    return Expected(records, _cycles(plan, identity))


def check(want, records, cycles):
    """Raise :exc:`SelfTestError` unless a board gave what was :func:`expected`."""
    wrong = [k for k, (got, right) in enumerate(zip(records, want.records, strict=True)) if got != right]
    if wrong:
        raise SelfTestError(f"self-test: {len(wrong)} of {TEST_FRAMES} results differ from the golden model's, the first of "
                            f"frame {wrong[0]}: {records[wrong[0]].hex()}, not {want.records[wrong[0]].hex()} (signature "
                            f"{signature(records)}, not {signature(want.records)})")
    if cycles != want.cycles:
        raise SelfTestError(f"self-test: the results are right (signature {signature(records)}), but took {cycles:,} cycles, not "
                            f"{want.cycles:,}")
