"""A board from Python: says what it is, classifies frames. ``docs/protocol.md`` has what goes over the line.

>>> with Board("/dev/ttyUSB1") as board:
...     board.check(network.digest)
...     print(board.classify(images).classes)
"""

import sys
import time
from dataclasses import dataclass

import numpy as np

from .protocol import TEST_FRAMES, VERSION, Counters, Identity, Kind, Reply, Splitter, request
from .session import BoardError, Session

__all__ = ["BAUD", "Board", "BoardError", "Results"]

BAUD = 1_000_000
IDLE_S = 0.002          # waiting for bytes when there is nothing to send
ANSWER_S, ANSWERS = 0.25, 40    # waiting for the reply to a single question, and how often it is asked
TEST_S = 60.0           # for a self-test


@dataclass(frozen=True)
class Results:
    """What a board gave for a batch of frames.

    Attributes
    ----------
    classes : int array (N,)
    scores : int array (N, classes) or None
        None where the network gives the class alone.
    flagged : bool array (N,)
        Frames that the board found too short or too long.
    seconds : float
        From the first byte sent to the last result.
    reopened, resent, bad_replies : int
        Sessions lost, times that chunks were sent again, replies dropped for a wrong CRC.
    """
    classes: np.ndarray
    scores: np.ndarray | None
    flagged: np.ndarray
    seconds: float
    reopened: int
    resent: int
    bad_replies: int


def unpack_records(records, identity):
    """Beats and flags of results: int64 array (N, result_beats), bool array (N,)."""
    data = np.frombuffer(b"".join(records), np.uint8).reshape(len(records), identity.record_bytes)
    beats = data[:, :-1].reshape(len(records), identity.result_beats, identity.bytes_per_beat).astype(np.int64)
    values = (beats << 8 * np.arange(identity.bytes_per_beat)).sum(axis=2)
    sign = 1 << 8 * identity.bytes_per_beat - 1
    values[:, :identity.scores] = (values[:, :identity.scores] ^ sign) - sign
    return values, data[:, -1] != 0


class Board:
    """A board on a serial port, or a virtual one behind a pseudo-terminal.

    Parameters
    ----------
    port : str
        Device name.
    baud : int
        Bits per second; a pseudo-terminal ignores it.

    Raises
    ------
    BoardError
        The port cannot be opened, is in use, or what is there does not speak this protocol.
    """
    def __init__(self, port, baud=BAUD):
        try:
            import serial  # of the extra "host"; nothing else here needs more than Python and NumPy
        except ModuleNotFoundError:
            raise BoardError("a board needs pyserial: pip install 'bnnhw[host]'") from None
        self.name = port
        self._error = serial.SerialException
        try:
            self._serial = serial.Serial(port, baud, timeout=0, write_timeout=0, exclusive=True)
        except (serial.SerialException, ValueError, OSError) as error:
            raise BoardError(f"{port}: {_reason(error)}") from None
        self._pending = b""
        self._asked = 0
        try:
            self.identity = self._identify()
        except BaseException:
            self.close()
            raise

    def close(self):
        self._serial.close()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()

    def _exchange(self, wait):
        """Write what is pending as far as the port takes it, and return the bytes that came, waiting for some if ``wait``."""
        try:
            if self._pending:
                self._pending = self._pending[self._serial.write(self._pending) or 0:]
            self._serial.timeout = IDLE_S if wait or self._pending else 0
            return self._serial.read(max(1, self._serial.in_waiting))
        except (self._error, OSError, TypeError) as error:      # TypeError: pyserial's answer to a port closed meanwhile
            raise BoardError(f"{self.name}: the connection broke: {_reason(error)}") from None

    def _question(self, kind, *answers, session=0, argument=0):
        """The :class:`Reply` of one of the kinds ``answers``. It is asked again until it comes."""
        splitter = Splitter(Reply)
        for _ in range(ANSWERS):
            self._asked = self._asked % 255 + 1
            self._pending += request(kind, session, self._asked, argument)
            until = time.monotonic() + ANSWER_S
            while time.monotonic() < until:
                for reply in splitter.feed(self._exchange(wait=True)):
                    if reply.kind in answers and reply.tag == self._asked:
                        return reply
        raise BoardError(f"{self.name}: no answer. Is the board flashed with a network by bnnhw, and the baud rate right?")

    def _identify(self):
        payload = self._question(Kind.IDENTIFY, Kind.IDENTITY).payload
        if payload[:1] != bytes([VERSION]):
            raise BoardError(f"{self.name}: the board speaks version {payload[0] if payload else '?'} of the protocol, "
                             f"this program version {VERSION}")
        try:
            return Identity.unpack(payload)
        except ValueError as error:
            raise BoardError(f"{self.name}: {error}") from None

    def counters(self):
        """The board's :class:`Counters`."""
        return Counters.unpack(self._question(Kind.COUNTERS, Kind.COUNTED).payload)

    def self_test(self):
        """Let the board run frames that it makes itself, :func:`bnnhw.protocol.test_frames`.

        Returns
        -------
        records : list of bytes
            The results of the frames.
        cycles : int
            From the first byte that the network is offered until the last result is stored.

        Raises
        ------
        BoardError
            The board does not answer, was reset meanwhile, or its network gives no result.
        """
        session = self._question(Kind.IDENTIFY, Kind.IDENTITY).session % 65_535 + 1     # not the present one
        self._question(Kind.TEST, Kind.OPENED, session=session)
        records, until = [], time.monotonic() + TEST_S
        while len(records) < TEST_FRAMES:
            reply = self._question(Kind.READ, Kind.RESULT, Kind.STATUS, Kind.ERROR, session=session,
                                   argument=len(records) | 1 << 8)
            if reply.kind == Kind.RESULT and reply.detail == len(records):
                records.append(reply.payload)
            elif reply.kind == Kind.ERROR:
                raise BoardError(f"{self.name}: the board was reset in the middle of its self-test")
            elif time.monotonic() > until:
                raise BoardError(f"{self.name}: the self-test gave {len(records)} of {TEST_FRAMES} results in {TEST_S:g} s")
        return records, self.counters().cycles

    def check(self, digest):
        """Raise :exc:`BoardError` unless the board has the network with this SHA-256 (hex)."""
        if self.identity.network.hex() != digest:
            raise BoardError(f"{self.name}: the board has network {self.identity.network.hex()[:12]}, "
                             f"not {digest[:12]}: flash it again, or name its model")

    def classify(self, frames, *, progress=None):
        """Run frames through the board.

        Parameters
        ----------
        frames : uint8 array (N, ...)
            Each ``identity.frame_bytes`` bytes, channel last.
        progress : callable, optional
            Called with the number of results received, now and then.

        Returns
        -------
        Results

        Raises
        ------
        BoardError
            The board does not answer.
        ValueError
            The frames have another size or type.
        """
        frames = np.asarray(frames)
        size = int(np.prod(frames.shape[1:], dtype=np.int64))
        if frames.ndim < 1 or frames.dtype != np.uint8 or size != self.identity.frame_bytes:
            raise ValueError(f"frames must be uint8, {self.identity.frame_bytes} bytes each, not {frames.dtype} {frames.shape}")
        rows = frames.reshape(len(frames), size)
        begin = time.monotonic()
        session = self.run(Session(self.identity, [row.tobytes() for row in rows]), progress)
        beats, flagged = unpack_records(session.records, self.identity)
        scores = beats[:, :self.identity.scores] if self.identity.scores else None
        return Results(beats[:, -1], scores, flagged, time.monotonic() - begin,
                       session.reopened, session.resent, session.bad)

    def run(self, session, progress=None):
        """Carry a :class:`Session` to its end and return it."""
        while not session.done:
            line = b"" if self._pending else session.send(time.monotonic())
            self._pending += line
            data = self._exchange(wait=not line)
            if data:
                session.receive(data, time.monotonic())
                if progress:
                    progress(session.received)
        return session


def _reason(error):
    text = getattr(error, "strerror", None) or str(error)
    return text.split("] ")[-1].rstrip("'") if sys.platform != "win32" else text
