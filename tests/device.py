"""A model of a board in plain Python, and of the line to it, in simulated time: for fast tests of the host's side."""

import random
from collections import deque

from bnnhw import protocol
from bnnhw.protocol import Fault, Kind

BYTE_S = 10e-6      # 1 Mbaud


class Device:
    """What :class:`bnnhw.gateware.link.Link` does, byte by byte, with a network that takes ``frame_steps`` byte times per frame.

    ``answer`` is the network: bytes of a frame to bytes of beats.
    """
    def __init__(self, identity, answer, *, frame_steps=1, checked=True):
        self.identity, self.answer, self.frame_steps, self.checked = identity, answer, frame_steps, checked
        self.errors = 0
        self.reset()

    def reset(self):
        self.splitter = protocol.Splitter(protocol.Request)
        self.tag, self.refused = 0, 0
        self.out, self.status, self.other = deque(), False, None
        self._open(0)

    def _open(self, session):
        self.session, self.expected, self.freed = session, 0, 0
        self.banks, self.frame, self.busy, self.results = deque(), bytearray(), 0, []
        self.refused = 0

    def step(self, byte):
        """One byte time: takes a byte or None, gives a byte or None."""
        if byte is not None:
            for packet in self.splitter.feed(bytes([byte])):
                self._request(packet)
        self._work()
        if not self.out:
            self.out.extend(self._reply())
        return self.out.popleft() if self.out else None

    def _work(self):
        if self.busy:
            self.busy -= 1
            return
        if not self.banks or len(self.results) - self.freed >= self.identity.slots:
            return
        payload, last = self.banks.popleft()
        self.frame += payload
        if last:
            flag = bytes([len(self.frame) != self.identity.frame_bytes])
            self.results.append(self.answer(bytes(self.frame)) + flag)
            self.frame.clear()
            self.busy = self.frame_steps

    def _request(self, request):
        self.tag = request.tag
        same = self.session != 0 and request.session == self.session
        if request.kind == Kind.IDENTIFY:
            self.other = (Kind.IDENTITY, 0, self.identity.pack())
        elif request.kind == Kind.COUNTERS:
            self.other = (Kind.COUNTED, 0, protocol.Counters(len(self.results), self.splitter.bad, 0, 0).pack())
        elif request.kind == Kind.OPEN:
            if request.session != self.session:
                self._open(request.session)
                self.out, self.status = deque([protocol.END]), False
            self.other = (Kind.OPENED, 0, b"")
        elif request.kind not in (Kind.DATA, Kind.DATA_LAST, Kind.READ):
            self.other = (Kind.ERROR, Fault.UNKNOWN_KIND, b"")
        elif not same:
            self.other = (Kind.ERROR, Fault.NO_SESSION, b"")
        elif request.kind == Kind.READ:
            index, count = request.argument % 256, request.argument >> 8
            ahead = (index - self.freed) % 256
            if ahead <= len(self.results) - self.freed:
                self.freed += ahead
                self.other = [self.freed, count] if count else self.other
            self.status |= count == 0 or ahead > len(self.results) - self.freed
        else:
            self.status = True
            if request.argument == self.expected and request.payload:
                self.refused = len(self.banks) == 2
                if not self.refused:
                    self.banks.append((request.payload, request.kind == Kind.DATA_LAST))
                    self.expected = (self.expected + len(request.payload)) % 2 ** 16

    def _reply(self):
        if self.other is None and not self.status:
            return b""
        self.status, other, self.other = False, self.other, None
        kind, detail, payload = Kind.STATUS, int(self.refused), b""
        if isinstance(other, tuple):
            kind, detail, payload = other
        elif other is not None and other[0] < len(self.results):
            index, count = other
            kind, detail, payload = Kind.RESULT, index % 256, self.results[index]
            self.other = [index + 1, count - 1] if count > 1 else None
        return protocol.reply(kind, self.session, self.tag, self.expected, len(self.results) % 256, detail, payload)


class Noise:
    """Drops and alters bytes with given chances, by a seed."""
    def __init__(self, seed=0, flip=0.0, drop=0.0):
        self.random, self.flip, self.drop = random.Random(seed), flip, drop

    def __call__(self, byte):
        chance = self.random.random()
        if chance < self.drop:
            return None
        if chance < self.drop + self.flip:
            return byte ^ self.random.randrange(1, 256)
        return byte


def converse(session, device, *, latency_s=0.0, noise=(None, None), reset_at=(), max_s=120.0):
    """Run a session against a device until it is done; return the simulated seconds.

    ``latency_s`` each way; ``noise`` to the board and back; ``reset_at`` are byte times at which the board is reset.
    """
    delay = round(latency_s / BYTE_S)
    there, back = deque([None] * delay), deque([None] * delay)
    pending, resets = deque(), set(reset_at)
    for step in range(round(max_s / BYTE_S)):
        now = step * BYTE_S
        if step in resets:
            device.reset()
        if not pending:
            pending.extend(session.send(now))
        byte = pending.popleft() if pending else None
        there.append(noise[0](byte) if noise[0] and byte is not None else byte)
        reply = device.step(there.popleft())
        back.append(noise[1](reply) if noise[1] and reply is not None else reply)
        came = back.popleft()
        if came is not None:
            session.receive(bytes([came]), now)
        if session.done:
            return now
    raise AssertionError(f"not done after {max_s} s: {session.received} of {len(session.records)} results")
