"""Folded convolutions: window buffer, weights and matrix-vector unit joined to one stage."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .mvtu import DepthwiseMvtu, Mvtu
from .padding import Grouping, filled, grouped, padded_layer, trimmed
from .streams import sliced
from .weights import RomSource, weight_words
from .window import ChannelWindows, Windows

__all__ = ["DepthwiseConv", "FoldedConv"]


class _Conv(wiring.Component):
    """Joins the three parts. Where the result is the same at every border, the window's border is not looked at. A pixel's
    channels are in words as the groupings ``columns`` at the input and ``rows`` at the output say."""
    def __init__(self, window, unit, words, width, memory, slices, columns, rows, bits, fill):
        self.window, self.unit, self.source, self.slices = window, unit, RomSource(words, width, memory, slices), slices
        self.columns, self.rows, self.bits, self.fill, self.result_bits = columns, rows, bits, fill, unit.result.width
        super().__init__({"i": In(stream.Signature(columns.narrow * bits)),
                          "o": Out(stream.Signature(data.ArrayLayout(unit.result.width, rows.narrow)))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.window = window = self.window
        m.submodules.unit = unit = self.unit
        m.submodules.source = self.source
        wiring.connect(m, filled(m, wiring.flipped(self.i), self.columns, self.bits, self.fill), window.i)
        wiring.connect(m, self.source.o, unit.weights)
        words = sliced(m, window.o, "fetched") if self.slices else window.o
        m.d.comb += [
            unit.i.p.word.eq(words.p.word),
            unit.i.valid.eq(words.valid),
            words.ready.eq(unit.i.ready),
        ]
        if unit.borders > 1:
            m.d.comb += unit.i.p.border.eq(words.p.border)
        trimmed(m, unit.o, wiring.flipped(self.o), self.rows, self.result_bits)

        return m


def _check(result, window):
    if len(result.starts) not in (1, window.classes):
        raise ValueError(f"result must have numbers for 1 or {window.classes} borders, not {len(result.starts)}")


class FoldedConv(_Conv):
    """A convolution of a map of ``C_in`` channels, PE output channels and SIMD input channels per cycle.

    Cycles per image: windows * (C_out / PE) * (rows * columns * C_in / SIMD), or the words of the image, if those are more, no
    bubble between images, if ``depth`` is enough (:func:`bnnhw.stages.window_timing.rate_depth`). A result is offered 6 cycles
    after the last word that it needs was taken, if nothing else is waited for.

    Where PE or SIMD does not divide its channels, both quotients are rounded up, and what is missing is made up inside, as in
    :class:`~.dense.FoldedDense`, pixel by pixel.

    Parameters
    ----------
    weights : int array (C_out, rows, columns, C_in)
        -1, 0 and +1.
    result : Signs or Codes
        With one row, or one for each way in which windows hang over the border (:func:`~.window.border_classes`).
    reach : list of int (C_out,)
        Greatest match counts.
    image : (H, W)
    stride : (down, right)
    padding : (top, bottom, left, right)
    fill : int
        The code of padded places.
    pe, simd : int
        From 1 to C_out and to C_in.
    memory : str
        Kind of the weight memory, ``"bram"`` or ``"lut"``; ``"updatable"``: all that weights and result say is in block RAM.
    depth : int
        Words that the window buffer holds.
    bits : int
        Of an input's code.
    registers : int
        As of :class:`~.mvtu.Mvtu`: a result comes so many cycles later.
    slices : bool
        Whether a register slice stands behind the window buffer, one cycle more, and a register behind the memory of weights.

    Members
    -------
    i : :py:`In(stream.Signature(gcd(simd, C_in) * bits))`
        Pixels row by row, so many channels a word.
    o : :py:`Out(stream.Signature(ArrayLayout(result.width, gcd(pe, C_out))))`
        Pixels row by row, so many channels a word.
    """
    def __init__(self, weights, result, *, reach, image, stride, padding, fill, pe, simd, memory, depth, bits, registers=0,
                 slices=False):
        n_out, down, right, channels = weights.shape
        rows, columns = grouped("PE", n_out, pe), grouped("SIMD", channels, simd)
        window = Windows(width=simd * bits, image=image, groups=columns.words, kernel=(down, right), stride=stride,
                         padding=padding, fill=sum(fill << bits * lane for lane in range(simd)), repeats=rows.words, depth=depth)
        _check(result, window)
        weights, result, reach = padded_layer(weights.reshape(n_out, -1, channels), result, reach, pe, simd, fill)
        unit = Mvtu(pe=pe, simd=simd, words=down * right * columns.words, result=result, reach=reach, bits=bits,
                    masked=not weights.all(), registers=registers, updatable=memory == "updatable")
        super().__init__(window, unit, *weight_words(weights, pe, simd), memory, slices, columns, rows, bits, fill)


class DepthwiseConv(_Conv):
    """A convolution of each channel by itself, PE channels per cycle.

    Cycles per image: windows * (C / PE) * rows * columns, or the words of the image, if those are more. The rest is as of
    :class:`FoldedConv`.

    Parameters
    ----------
    weights : int array (C, rows, columns)
        -1, 0 and +1.
    pe : int
        Divisor of C.
    """
    def __init__(self, weights, result, *, reach, image, stride, padding, fill, pe, memory, depth, bits, slices=False):
        channels, rows, columns = weights.shape
        if not isinstance(pe, int) or pe < 1 or channels % pe:
            raise ValueError(f"PE must divide {channels}, not {pe!r}")
        window = ChannelWindows(width=pe * bits, image=image, groups=channels // pe, kernel=(rows, columns), stride=stride,
                                padding=padding, fill=sum(fill << bits * lane for lane in range(pe)), depth=depth)
        _check(result, window)
        unit = DepthwiseMvtu(pe=pe, words=rows * columns, result=result, reach=reach, bits=bits, masked=not weights.all(),
                             updatable=memory == "updatable")
        words = Grouping(channels, pe)
        super().__init__(window, unit, *weight_words(weights.reshape(channels, -1), pe, 1), memory, slices, words, words, bits,
                         fill)
