"""Sliding windows over a stream of pixels, from a ring buffer that holds no more rows than the windows need."""

import collections
import functools
import math
from dataclasses import dataclass

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["ChannelWindows", "Geometry", "Windows", "border_classes", "outputs"]


def outputs(size, kernel, stride, before, after):
    """Number of windows along one direction of ``size`` places with padding ``before`` and ``after``."""
    return (size + before + after - kernel) // stride + 1


def border_classes(size, kernel, stride, before, after):
    """How windows along one direction hang over the border.

    Returns
    -------
    classes : list of (int, int)
        The distinct pairs (places cut off before, places cut off after), in order of first occurrence.
    indices : list of int
        For each window, in order, the index of its pair.
    """
    starts = [k * stride - before for k in range(outputs(size, kernel, stride, before, after))]
    cuts = [(max(0, -start), max(0, start + kernel - size)) for start in starts]
    classes = list(dict.fromkeys(cuts))
    return classes, [classes.index(cut) for cut in cuts]


@dataclass(frozen=True)
class Geometry:
    """Windows over an image: what is read when, and when it is no longer needed. Positions count words from the image's first.

    Parameters
    ----------
    image : (H, W)
    groups : int
        Words of a pixel.
    kernel, stride : (rows, columns)
    padding : (top, bottom, left, right)
        Each less than the kernel in that direction.
    """
    image: tuple
    groups: int
    kernel: tuple
    stride: tuple
    padding: tuple

    def __post_init__(self):
        for field in ("image", "kernel", "stride", "padding"):
            object.__setattr__(self, field, tuple(int(n) for n in getattr(self, field)))
        for name, values in (("image", self.image), ("groups", (self.groups,)), ("kernel", self.kernel), ("stride", self.stride)):
            if any(n < 1 for n in values):
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if any(not 0 <= p < k for p, k in zip(self.padding, (self.kernel[0],) * 2 + (self.kernel[1],) * 2, strict=True)):
            raise ValueError(f"padding must be at least 0 and less than the kernel {self.kernel}, not {self.padding}")
        if min(self.rows, self.columns) < 1:
            raise ValueError(f"a kernel of {self.kernel} does not fit into {self.image} with padding {self.padding}")

    def _along(self, axis):
        return self.image[axis], self.kernel[axis], self.stride[axis], *self.padding[2 * axis:2 * axis + 2]

    @property
    def rows(self):
        """Rows of windows."""
        return outputs(*self._along(0))

    @property
    def columns(self):
        """Columns of windows."""
        return outputs(*self._along(1))

    @property
    def words(self):
        """Words of an image."""
        return math.prod(self.image) * self.groups

    @property
    def borders(self):
        """(classes, index of each row of windows), and the same of the columns: see :func:`border_classes`."""
        return border_classes(*self._along(0)), border_classes(*self._along(1))

    @functools.cached_property
    def starts(self):
        """The first row that each row of windows needs, and the first column of each column of windows."""
        return tuple([max(0, k * self.stride[axis] - self.padding[2 * axis]) for k in range(count)]
                     for axis, count in ((0, self.rows), (1, self.columns)))

    def held(self, row):
        """Whether the next row of windows needs the same first row of the image, so that nothing of it can be freed."""
        first_rows = self.starts[0]
        return row + 1 < self.rows and first_rows[row + 1] == first_rows[row]

    def needed(self, row, column):
        """Position of the first word that the window or any later one needs."""
        if row == self.rows:
            return self.words
        first = self.starts[0][row] * self.image[1]
        return (first if self.held(row) else first + self.starts[1][column]) * self.groups

    def released(self, row, column):
        """Words that are freed by the end of a window."""
        following = (row, column + 1) if column + 1 < self.columns else (row + 1, 0)
        return self.needed(*following) - self.needed(row, column)


Loop = collections.namedtuple("Loop", "name count stride dx dy")


class _Windows(wiring.Component):
    def __init__(self, *, width, geometry, fill, loops, depth):
        for name, value in (("width", width), ("depth", depth)):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        if not 0 <= fill < 1 << width:
            raise ValueError(f"fill must have {width} bits, not {fill}")
        self.width, self.geometry, self.fill, self.depth = width, geometry, fill, depth
        (down, right), per_row = geometry.stride, geometry.image[1] * geometry.groups
        self.loops = [*loops, Loop("column", geometry.columns, right * geometry.groups, right, 0),
                      Loop("row", geometry.rows, down * per_row, 0, down)]
        rows, columns = geometry.borders
        self.classes = len(rows[0]) * len(columns[0])
        self._layout = data.StructLayout({"word": width, "border": range(self.classes)})
        super().__init__({"i": In(stream.Signature(width)), "o": Out(stream.Signature(self._layout))})

    def _steps(self, key, whole):
        """What a coordinate grows by when a loop steps and those in it start again, loop by loop; last for a new image."""
        found, back = [], 0
        for loop in self.loops:
            found.append(getattr(loop, key) - back)
            back += getattr(loop, key) * (loop.count - 1)
        return [*found, whole - back]

    def elaborate(self, platform):
        m = Module()

        geometry = self.geometry
        m.submodules.ring = ring = memory.Memory(shape=self.width, depth=1 << (self.depth - 1).bit_length(), init=[])
        write, read = ring.write_port(), ring.read_port()
        top, _, left, _ = geometry.padding

        # Counters of the loops, the innermost first; `level` has one bit set, for the loop that steps after this word.
        move = Signal()
        counters = {loop.name: Signal(range(loop.count), name=loop.name) for loop in self.loops}
        lasts = Signal(len(self.loops))
        level = Signal(len(self.loops) + 1)
        for k, loop in enumerate(self.loops):
            counter = counters[loop.name]
            m.d.comb += lasts[k].eq(counter == loop.count - 1)
            m.d.comb += level[k].eq(~lasts[k] & lasts[:k].all())
            if loop.count > 1:
                with m.If(move & lasts[:k].all()):
                    m.d.sync += counter.eq(Mux(lasts[k], 0, counter + 1))
        m.d.comb += level[-1].eq(lasts.all())

        def step(amounts, shape, name):
            """The one of ``amounts`` that belongs to ``level``."""
            chosen = Signal(shape, name=name)
            for k, amount in enumerate(amounts):
                with m.If(level[k]):
                    m.d.comb += chosen.eq(amount)
            return chosen

        def table(selector, values, name):
            """``values[selector]``, cheap where most are equal."""
            usual = collections.Counter(values).most_common(1)[0][0]
            chosen = Signal(range(max(values) + 1), name=name)
            with m.Switch(selector):
                for k, value in enumerate(values):
                    if value != usual:
                        with m.Case(k):
                            m.d.comb += chosen.eq(value)
                with m.Default():
                    m.d.comb += chosen.eq(usual)
            return chosen

        # Writer. `room` counts places that may be written: those of the ring, and words to come that no window needs.
        taken = self.i.valid & self.i.ready
        releases = [[geometry.released(row, column) for column in range(geometry.columns)] for row in range(geometry.rows)]
        freed = Signal(range(max(map(max, releases)) + 1))
        room = Signal(range(self.depth + geometry.words + 1), init=self.depth)
        any_room = Signal(init=1)       # a register of its own, which decides at once
        m.d.comb += [self.i.ready.eq(any_room), write.data.eq(self.i.payload), write.en.eq(taken)]
        m.d.sync += [room.eq(room + freed - taken), any_room.eq((freed != 0) | any_room & ~(taken & (room == 1)))]
        with m.If(taken):
            m.d.sync += write.addr.eq(write.addr + 1)

        # Reader. `ahead` is how many words beyond the one to be read have been written: negative while it is missing.
        jumps = self._steps("stride", geometry.words)
        start = -(top * geometry.image[1] + left) * geometry.groups
        reach = max(abs(jump) for jump in jumps)
        ahead = Signal(range(-reach - geometry.words - 1, self.depth + geometry.words + reach), init=-start - 1)
        address = Signal(len(read.addr), init=start % ring.depth)
        jump = step(jumps, Shape.cast(range(min(jumps), max(jumps) + 1)), "jump")
        inside = Const(1)
        if any(geometry.padding):
            inside = self._inside(m, move, step)
        m.d.comb += [
            move.eq((~inside | ~ahead[-1]) & (~self.o.valid | self.o.ready)),
            read.addr.eq(address),
            read.en.eq(move),
        ]
        m.d.sync += ahead.eq(ahead + taken - Mux(move, jump, 0))
        with m.If(move):
            m.d.sync += [address.eq(address + jump), self.o.valid.eq(1)]
        with m.Elif(self.o.ready):
            m.d.sync += self.o.valid.eq(0)

        # After the last word of a window the words before the next one's are free.
        row, column = counters["row"], counters["column"]
        whole = lasts[:len(self.loops) - 2].all()
        in_row = table(column, releases[-1][:-1] + [0], "in_row")
        at_end = table(row, [release[-1] for release in releases], "at_end")
        held = table(row, [int(geometry.held(k)) for k in range(geometry.rows)], "held")
        m.d.sync += freed.eq(Mux(move & whole, Mux(lasts[-2], at_end, Mux(held, 0, in_row)), 0))

        if any(geometry.padding):
            padded = Signal()
            with m.If(move):
                m.d.sync += padded.eq(~inside)
            m.d.comb += self.o.p.word.eq(Mux(padded, self.fill, read.data))
        else:
            m.d.comb += self.o.p.word.eq(read.data)
        if self.classes > 1:
            (_, of_row), (columns, of_column) = geometry.borders
            border = table(row, [k * len(columns) for k in of_row], "row_class") + table(column, of_column, "column_class")
            with m.If(move):
                m.d.sync += self.o.p.border.eq(border)

        return m

    def _inside(self, m, move, step):
        """Whether the place to be read is on the image: a register, ready before it is needed."""
        (height, width), (top, _, left, _) = self.geometry.image, self.geometry.padding
        inside = Signal(2, init=(top == 0) | (left == 0) << 1)
        for k, (key, start, size) in enumerate((("dy", -top, height), ("dx", -left, width))):
            steps = self._steps(key, 0)
            reach = max(abs(amount) for amount in steps)
            shape = Shape.cast(range(start, size + reach))
            place, following = Signal(shape, name=f"place_{key}", init=start), Signal(shape, name=f"following_{key}")
            m.d.comb += following.eq(place + step(steps, Shape.cast(range(-reach, reach + 1)), f"step_{key}"))
            with m.If(move):
                m.d.sync += [place.eq(following), inside[k].eq((following >= 0) & (following < size))]
        return inside.all()


class Windows(_Windows):
    """All windows of each image that comes in, one after the other, row by row; each window ``repeats`` times.

    A window is a sequence of ``kernel`` rows times ``kernel`` columns times ``groups`` words, in this order. Places outside
    the image are given as ``fill``; they are not stored. Rows and columns that no window needs are taken and dropped.

    One word per cycle in and out at the same time, no bubble between rows of windows or between images as long as words have
    arrived and ``depth`` suffices. A word is offered two cycles after it was taken, at the earliest. Its place in the ring can be
    written again two cycles after the last word was read of the last window that needs it or anything before it.

    ``live`` and ``rate`` depths: :mod:`bnnhw.stages.window_timing`.

    Cost: a memory of ``depth`` words, rounded up to a power of two (block RAM or LUT RAM, as synthesis sees fit); a counter
    for each loop; two adders of the memory's address width and two a little wider.

    Parameters
    ----------
    width : int
        Bits of a word.
    image, groups, kernel, stride, padding
        As of :class:`Geometry`.
    fill : int
        The word that stands for padding, ``width`` bits.
    repeats : int
        How often each window is given, one after the other.
    depth : int
        Words that the ring holds.

    Members
    -------
    i : :py:`In(stream.Signature(width))`
        Pixels row by row, of each its ``groups`` words.
    o : :py:`Out(stream.Signature(StructLayout({"word": width, "border": range(classes)})))`
        ``border`` says how the window hangs over the border: the class of its row of windows times the number of classes of
        columns, plus the class of its column, as :func:`border_classes` numbers them. It has no bits where there is only one.
    """
    def __init__(self, *, width, image, groups, kernel, stride, padding, fill, repeats, depth):
        geometry = Geometry(image, groups, kernel, stride, padding)
        rows, columns = geometry.kernel
        super().__init__(width=width, geometry=geometry, fill=fill, depth=depth, loops=[
            Loop("group", groups, 1, 0, 0), Loop("kernel_column", columns, groups, 1, 0),
            Loop("kernel_row", rows, geometry.image[1] * groups, 0, 1), Loop("turn", repeats, 0, 0, 0)])


class ChannelWindows(_Windows):
    """As :class:`Windows`, once each, but all places of the kernel give their first word, then all their second, ...

    So units that treat every channel by itself, pools and depthwise convolutions, finish one group of channels after the
    other. Parameters, members and timing are those of :class:`Windows` without ``repeats``.
    """
    def __init__(self, *, width, image, groups, kernel, stride, padding, fill, depth):
        geometry = Geometry(image, groups, kernel, stride, padding)
        rows, columns = geometry.kernel
        super().__init__(width=width, geometry=geometry, fill=fill, depth=depth, loops=[
            Loop("kernel_column", columns, groups, 1, 0), Loop("kernel_row", rows, geometry.image[1] * groups, 0, 1),
            Loop("group", groups, 1, 0, 0)])
