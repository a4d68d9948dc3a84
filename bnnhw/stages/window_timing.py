"""Cycle-exact model of the window buffer, and the two depths that follow from it.

- ``live``: with one word less some window never is complete, and nothing moves any more.
- ``rate``: the least depth at which the interval between images is exactly the greater of the words that come in and the words
  that go out. With less than that, windows wait for words that wait for room.
"""

import functools
from fractions import Fraction

import numpy as np

from ..gateware.window import Geometry

__all__ = ["Reads", "Window", "interval", "live_depth", "paced_depth", "rate_depth"]

NEVER = -(1 << 60)      # needed by no one: a place of padding
QUIET = 4               # cycles without a transfer, with a source that always offers, after which there will be none


class Reads:
    """The words that are read for one image, in order.

    Attributes
    ----------
    words : int
        That come in.
    needs : list of int
        For each word that goes out, the position of the word that it is, or :data:`NEVER` for padding.
    frees : list of int
        How many words are free after it.
    live : int
        The least depth that works.
    """
    def __init__(self, geometry, repeats, channels):
        height, width = geometry.image
        (down, right), (top, _, left, _), groups = geometry.stride, geometry.padding, geometry.groups
        y = np.arange(geometry.kernel[0])[:, None, None]
        x = np.arange(geometry.kernel[1])[None, :, None]
        group = np.arange(groups)[None, None, :]
        self.words, self.needs, self.frees, self.live = geometry.words, [], [], 1
        for row in range(geometry.rows):
            for column in range(geometry.columns):
                rows, columns = row * down - top + y, column * right - left + x
                inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
                places = np.where(inside, (rows * width + columns) * groups, NEVER) + np.where(inside, group, 0)
                if channels:
                    places = places.transpose(2, 0, 1)
                self.needs += places.ravel().tolist() * repeats
                self.frees += [0] * (places.size * repeats - 1) + [geometry.released(row, column)]
                self.live = max(self.live, int(places.max()) - geometry.needed(row, column) + 1)


@functools.lru_cache(64)
def reads(image, groups, kernel, stride, padding, repeats, channels):
    """The :class:`Reads` of a window buffer."""
    return Reads(Geometry(image, groups, kernel, stride, padding), repeats, channels)


class Window:
    """Model of :class:`~bnnhw.gateware.window.Windows` and, without ``repeats``, of ``ChannelWindows``.

    Parameters are theirs without ``width`` and ``fill``.
    """
    def __init__(self, *, image, groups, kernel, stride, padding, depth, repeats=None):
        found = reads(image, groups, kernel, stride, padding, repeats or 1, repeats is None)
        self.needs, self.frees, self.words = found.needs, found.frees, found.words
        self.room, self.freed, self.next = depth, 0, 0
        self.written = 0            # since the image whose windows are being read began
        self.valid, self.ready, self.idle = False, True, False

    def step(self, push, pop):
        following, room = self.next, self.room + self.freed - push
        self.freed = 0
        if (not self.valid or pop) and self.written > self.needs[following]:
            self.valid = True
            self.freed = self.frees[following]
            following += 1
            if following == len(self.needs):
                following = 0
                self.written -= self.words
            self.next = following
        elif pop:
            self.valid = False
        self.written += push
        self.room = room
        self.ready = room > 0
        self.idle = self.freed == 0 and (self.valid or self.written <= self.needs[self.next])


def interval(**parameters):
    """Cycles between images of a :class:`Window` alone, with a source that always offers and a sink that always takes.

    It is run until an image ends in a state in which an earlier one ended; where several images lie between the two it
    is their average, a fraction. None where nothing comes out any more.
    """
    window = Window(**parameters)
    step, last = window.step, len(window.needs)
    ends, quiet, given, cycle = {}, 0, 0, 0
    while quiet < QUIET:
        pushed, popped = window.ready, window.valid
        step(pushed, popped)
        cycle += 1
        quiet = 0 if pushed or popped else quiet + 1
        if popped:
            given += 1
            if given % last == 0:
                state = window.room, window.freed, window.next, window.written, window.valid
                if state in ends:
                    before, end = ends[state]
                    return Fraction((cycle - end) * last, given - before)
                ends[state] = given, cycle
    return None


def live_depth(*, image, groups, kernel, stride, padding, repeats=None):
    """The least depth with which every window is complete some time. Parameters as of :class:`Window`, without ``depth``."""
    return reads(image, groups, kernel, stride, padding, 1, False).live


@functools.lru_cache(256)
def rate_depth(*, image, groups, kernel, stride, padding, repeats=None):
    """The least depth at which the interval is the greater of words in and words out. Parameters as of :func:`live_depth`."""
    found = reads(image, groups, kernel, stride, padding, repeats or 1, repeats is None)
    keeps_up = _schedule(found)
    low = found.live - 1        # fails
    high = low + 1
    while not keeps_up(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if keeps_up(middle) else (middle, high)
    return high


def paced_depth(period, **geometry):
    """A depth at which words that come evenly, an image every ``period`` cycles, never wait for room.

    At least :func:`rate_depth`. In a network words come at the pace of its slowest stage, and a window that takes most of that
    time must be filled while the one before it is still read. Other parameters as of :func:`rate_depth`.
    """
    found = reads(**{"repeats": 1} | {key: value for key, value in geometry.items() if value is not None},
                  channels=geometry.get("repeats") is None)
    least, words, count = rate_depth(**geometry), found.words, len(found.needs)
    if period <= max(words, count):
        return least
    needs, numbers = np.array(found.needs), np.arange(words)
    written = numbers * period // words
    read = _earliest(np.where(needs >= 0, written[np.maximum(needs, 0)] + 1, NEVER), period)
    # Words of this image and of the one before that are in the ring when a word comes.
    freed_by = read[np.searchsorted(np.cumsum(found.frees), numbers, side="right")] + 2
    freed_by = np.concatenate([freed_by - period, freed_by])
    waiting = words + numbers + 1 - np.searchsorted(freed_by, written, side="right")
    return max(least, int(waiting.max()))


def _schedule(found):
    """A function that tells of a depth whether images can follow each other every max(words in, words out) cycles.

    They can if there are times for all reads and writes that repeat with this period and keep what the buffer asks for: one read
    and one write per cycle, a read at least one cycle after the write of its word, a write at least two after the read that
    frees its place. (What starts as soon as it can is never later than any such times, so it settles to this period.) The
    busier side has a word in every cycle, which fixes its times; the other side's are the earliest possible.
    """
    needs, count, words = np.array(found.needs), len(found.needs), found.words
    period = max(count, words)
    freeing = np.searchsorted(np.cumsum(found.frees), np.arange(words), side="right")   # the read that frees a word
    if count >= words:
        read = np.arange(count)
        latest = np.full(words, -NEVER)      # when a word must be written
        np.minimum.at(latest, needs[needs >= 0], np.flatnonzero(needs >= 0) - 1)
    else:
        read = _earliest(np.where(needs >= 0, needs + 1, NEVER), period)
        latest = np.arange(words)
    freed = read[freeing]

    def keeps_up(depth):
        turn, word = np.divmod(np.arange(words) - depth, words)
        return (_earliest(freed[word] + turn * period + 2, period) <= latest).all()

    return keeps_up


def _earliest(least, period):
    """The earliest times, one after the other, that repeat with ``period`` and are no earlier than ``least``."""
    order = np.arange(-len(least), len(least))
    return (np.maximum.accumulate(np.concatenate([least - period, least]) - order) + order)[len(least):]
