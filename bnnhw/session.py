"""The host's side of the protocol: sends frames over a line that may lose and alter bytes, and collects the results.

It knows no port: it is told the bytes that came and the time, and says which bytes to send. Go-back-N with cumulative
acknowledgement by byte offset: any number of chunks are on their way at a time, so a link's latency does not slow it
down. Every request carries a tag that its reply repeats; as the line keeps the order, a reply tells at once which of the
requests before it were lost, without waiting for a timeout. Chunks shrink where the line is bad and grow where it is good.
"""

import bisect
import itertools
import random
from collections import deque
from dataclasses import dataclass

from .errors import UserError
from .protocol import Fault, Kind, Reply, Splitter, request

__all__ = ["BoardError", "Session"]

CHUNK_BYTES_MIN = 16        # below this, a packet is mostly header
CHUNK_GROWTH = 4            # bytes by which a chunk grows for every one that arrived
WINDOW_MIN, WINDOW_MAX = 16, 64 # chunks on their way; at most 64 * 252 bytes, far from an offset's 65,536
TIMEOUT_FIRST_S = 0.1       # until round trips are known
TIMEOUT_MIN_S, TIMEOUT_MAX_S = 0.02, 2.0
PATIENCE_S = 15.0           # without a single good reply
STUCK_S = 60.0              # with replies, but without a chunk taken or a result
READ_MAX = 16               # results asked for at a time
POLL_S = 0.005              # between questions for a result that the network has not finished
REOPENED_MAX = 10           # sessions lost in a row without a result in between
DATA_KINDS = (Kind.DATA, Kind.DATA_LAST)


class BoardError(UserError):
    """A board that does not answer, or not as it should."""


@dataclass(eq=False)
class Sent:
    """A request on its way; ``start`` and ``end`` are the bytes of a chunk or the results asked for."""
    tag: int
    time: float
    kind: Kind
    start: int = 0
    end: int = 0


class Session:
    """One run of frames through a board.

    Whoever uses it calls :meth:`receive` with bytes that came and :meth:`send` for bytes to send, until ``done``.

    Parameters
    ----------
    identity : Identity
        Of the board.
    frames : sequence of bytes
        At least one byte each. One that has not ``identity.frame_bytes`` comes back flagged.
    seed : int, optional
        For the session numbers; default random.

    Attributes
    ----------
    records : list of bytes or None
        Result of each frame (:attr:`Identity.record_bytes`), None until it is here.
    received : int
        Results that are here without a gap.
    reopened : int
        Sessions that ended early: the board was reset, or another program opened one.
    resent : int
        Times that chunks had to be sent again.
    """
    def __init__(self, identity, frames, *, seed=None):
        self.identity, self.frames = identity, frames
        self.records = [None] * len(frames)
        self.reopened = self.resent = 0
        self._random = random.Random(seed)
        self._splitter = Splitter(Reply)
        self._chunk, self._window = identity.chunk_bytes, WINDOW_MIN
        self._trip = self._jitter = None    # seconds: smoothed round trip and its deviation
        self._heard = None                  # when the last good reply came
        self._moved = None                  # when a chunk was last taken or a result came
        self._number = self._tag = self._lost = 0
        self._begin()

    @property
    def bad(self):
        """Replies dropped: wrong CRC, broken framing."""
        return self._splitter.bad

    @property
    def done(self):
        """Whether every result is here."""
        return self._next == len(self._order)

    @property
    def received(self):
        return len(self.records) - len(self._order) + self._next

    def _begin(self):
        """A new session for the frames that have no result. Offsets and indices count from its start, without wrapping."""
        self._number = self._random.choice([k for k in range(1, 2 ** 16) if k != self._number])
        self._open = False
        self._order = [k for k, record in enumerate(self.records) if record is None]
        self._starts = [0, *itertools.accumulate(len(self.frames[k]) for k in self._order)]
        self._acked = self._sent = 0        # bytes that the board has, and that went out at any time
        self._offset = self._frame = 0      # byte to send next, and its frame
        self._next = self._finished = 0     # first result that is not here; results that the board finished
        self._freed = 0                     # results that the board holds no longer
        self._on_the_way = deque()          # requests, oldest first
        self._reading = None                # the READ whose results are coming
        self._paused = self._poll = 0.0     # times before which no chunk, no idle question goes out
        self._backoff = 1

    def send(self, now):
        """The next packet to send; empty if it is not yet time for one.

        Raises
        ------
        BoardError
            The board has not answered for 15 s, got no further for 60 s, or loses every session.
        """
        if self._heard is None:
            self._heard = self._moved = now
        if now - self._heard > PATIENCE_S:
            raise BoardError(f"the board has not answered for {PATIENCE_S:g} s")
        if now - self._moved > STUCK_S:
            raise BoardError(f"the board answers, but its network gave no result for {STUCK_S:g} s")
        self._check_time(now)
        if self.done:
            return b""
        if not self._open:
            return b"" if self._on_the_way else self._request(now, Kind.OPEN)
        return self._read(now) or self._data(now) or self._ask(now)

    def _request(self, now, kind, argument=0, payload=b"", start=0, end=0):
        self._tag = (self._tag + 1) % 256
        self._on_the_way.append(Sent(self._tag, now, kind, start, end))
        return request(kind, self._number, self._tag, argument % 2 ** 16, payload)

    def _read(self, now, wanted=False):
        """A READ, where results wait or the board's ring fills up."""
        if self._reading or not (wanted or self._finished > self._next
                                 or self._next - self._freed >= self.identity.slots // 2):
            return b""
        end = self._next + 1
        while end < min(self._finished, self._next + READ_MAX) and self.records[self._order[end]] is None:
            end += 1
        line = self._request(now, Kind.READ, self._next % 256 | end - self._next << 8, start=self._next, end=end)
        self._reading = self._on_the_way[-1]
        return line

    def _data(self, now):
        """The next chunk, where there is one and the window has room."""
        if (self._frame == min(len(self._order), self._freed + self.identity.slots) or now < self._paused
                or sum(sent.kind in DATA_KINDS for sent in self._on_the_way) >= self._window):
            return b""
        start, end = self._offset, self._starts[self._frame + 1]
        chunks = -(-(end - start) // self._chunk)
        stop = start + -(-(end - start) // chunks)      # equal chunks, not full ones and a rest
        base = self._starts[self._frame]
        payload = self.frames[self._order[self._frame]][start - base:stop - base]
        self._offset, self._sent = stop, max(self._sent, stop)
        self._frame += stop == end
        return self._request(now, Kind.DATA_LAST if stop == end else Kind.DATA, start, bytes(payload), start, stop)

    def _ask(self, now):
        """A READ now and then where nothing else brings news: the network still works on the last frames."""
        if self._on_the_way or self._reading or now < max(self._poll, self._paused):
            return b""
        self._poll = now + max(POLL_S, self._trip or 0)
        return self._read(now, wanted=True)

    def _check_time(self, now):
        """Take everything on the way for lost when nothing came for too long."""
        waiting = self._on_the_way or [self._reading] * (self._reading is not None)
        if not waiting:
            return
        timeout = TIMEOUT_FIRST_S
        if self._trip is not None:
            timeout = max(TIMEOUT_MIN_S, self._trip + 4 * self._jitter)
        if now - max(self._heard, waiting[-1].time) > min(TIMEOUT_MAX_S, timeout * self._backoff):
            self._on_the_way.clear()
            self._reading = None
            self._backoff = min(8, 2 * self._backoff)
            if self._offset > self._acked:
                self._go_back(shrink=True)

    def _go_back(self, shrink):
        """Send again from the first byte that the board has not."""
        self.resent += 1
        self._move_to(self._acked)
        if shrink:
            self._chunk = max(min(CHUNK_BYTES_MIN, self.identity.chunk_bytes), self._chunk // 2)
            self._window = max(WINDOW_MIN, self._window // 2)

    def _move_to(self, offset):
        self._offset = offset
        self._frame = bisect.bisect_right(self._starts, offset) - 1

    def receive(self, data, now):
        """Take bytes that came from the board."""
        for reply in self._splitter.feed(data):
            if self._open:
                self._reply(reply, now)
            elif reply.kind == Kind.OPENED and reply.session == self._number:
                self._heard, self._open, self._backoff = now, True, 1
                self._on_the_way.clear()

    def _reply(self, reply, now):
        if reply.session != self._number:
            # Replies to what was sent before OPEN came before OPENED; so the board lost the session.
            if reply.kind == Kind.ERROR and reply.detail == Fault.NO_SESSION:
                self._reopen()
            return
        self._heard, self._backoff = now, 1
        self._answered(reply, now)
        acked = self._acked + (reply.expected - self._acked) % 2 ** 16
        if self._acked < acked <= self._sent:
            self._acked, self._moved = acked, now
            if self._offset < acked:    # what seemed lost had arrived
                self._move_to(acked)
            self._chunk = min(self.identity.chunk_bytes, self._chunk + CHUNK_GROWTH)
            self._window = min(WINDOW_MAX, self._window + 1)
        ahead = (reply.done - self._next) % 256
        if ahead <= self.identity.slots:
            self._finished = max(self._finished, min(self._next + ahead, len(self._order)))     # no more than there are
        if reply.kind == Kind.RESULT:
            self._result(reply, now)
        if self._offset > self._acked and not any(sent.kind in DATA_KINDS and sent.start == self._acked
                                                  for sent in self._on_the_way):
            refused = reply.kind == Kind.STATUS and reply.detail == 1
            if refused:
                self._paused = now + max(POLL_S, self._trip or 0)
            self._go_back(shrink=not refused)

    def _answered(self, reply, now):
        """Strike out the requests that the board has seen, or never will: up to the one with the reply's tag."""
        if reply.tag in (sent.tag for sent in self._on_the_way):
            while (sent := self._on_the_way.popleft()).tag != reply.tag:
                pass
            trip = now - sent.time
            if self._trip is None:
                self._trip, self._jitter = trip, trip / 2
            self._jitter += (abs(trip - self._trip) - self._jitter) / 4
            self._trip += (trip - self._trip) / 8
            if sent is self._reading:
                self._freed = max(self._freed, sent.start)
        if self._reading and reply.kind != Kind.RESULT and self._reading not in self._on_the_way:
            self._reading = None

    def _result(self, reply, now):
        index = self._next + (reply.detail - self._next) % 256
        if index - self._next < self.identity.slots and index < len(self._order):
            self.records[self._order[index]] = reply.payload
            self._lost, self._moved = 0, now
        if self._reading and (self._reading.end - 1 - reply.detail) % 256 == 0:
            self._freed = max(self._freed, self._reading.start)
            self._reading = None
        while not self.done and self.records[self._order[self._next]] is not None:
            self._next += 1

    def _reopen(self):
        self.reopened += 1
        self._lost += 1
        if self._lost > REOPENED_MAX:
            raise BoardError(f"the board lost {self._lost} sessions in a row: it is reset again and again, "
                             "or another program uses it")
        self._begin()
