"""Cycle-exact model of the window buffer, and the two depths that follow from it.

- ``live``: with one word less some window never is complete, and nothing moves any more.
- ``rate``: the least depth at which the interval between images is exactly the greater of the words that come in and the words
  that go out. With less than that, windows wait for words that wait for room.
"""

import functools

import numpy as np

from ..gateware.window import Geometry

__all__ = ["Reads", "Window", "interval", "live_depth", "rate_depth"]

NEVER = -(1 << 60)      # needed by no one: a place of padding
FRAMES = 3              # images after which the interval has settled, with a source that always offers


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
        self.valid, self.ready = False, True

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


def interval(**parameters):
    """Cycles between images of a :class:`Window` alone, with a source that always offers and a sink that always takes.

    None where nothing comes out any more.
    """
    window = Window(**parameters)
    step, last = window.step, len(window.needs)
    ends, quiet, limit, given = [], 0, 10 + 2 * window.words, 0
    cycle = 0
    while len(ends) < FRAMES:
        pushed, popped = window.ready, window.valid
        step(pushed, popped)
        cycle += 1
        quiet = 0 if pushed or popped else quiet + 1
        if quiet > limit:
            return None
        if popped:
            given += 1
            if given == last:
                given = 0
                ends.append(cycle)
    return ends[-1] - ends[-2]


def _geometry(parameters):
    return {key: parameters[key] for key in ("image", "groups", "kernel", "stride", "padding")}


def live_depth(**parameters):
    """The least depth with which every window is complete some time. Parameters of :class:`Window` without ``depth``."""
    return _live(**_geometry(parameters))


@functools.lru_cache(256)
def _live(**geometry):
    return reads(**geometry, repeats=1, channels=False).live


@functools.lru_cache(256)
def rate_depth(**parameters):
    """The least depth at which the interval is the greater of words in and words out. Parameters as of :func:`live_depth`."""
    window = Window(depth=1, **parameters)
    best = max(window.words, len(window.needs))
    low = live_depth(**parameters) - 1      # fails
    high = low + 1
    while interval(depth=high, **parameters) != best:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if interval(depth=middle, **parameters) == best else (middle, high)
    return high
