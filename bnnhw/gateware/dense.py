"""A folded dense layer: input buffer, weights and matrix-vector unit joined to one stage."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .mvtu import Mvtu, SumMvtu
from .replay import Replay
from .weights import RomSource

__all__ = ["FoldedDense", "weight_words"]


def weight_words(weights, pe, simd):
    """The weight memory of a folded layer.

    Parameters
    ----------
    weights : int array (n_out, n_in)
        -1 and +1.

    Returns
    -------
    list of int
        In the order in which they are used: input words fastest, then output folds. Bit ``k * simd + j`` of word
        ``fold * (n_in / simd) + w`` is 1 where neuron ``fold * pe + k`` has weight +1 from input ``w * simd + j``.
    """
    n_out, n_in = weights.shape
    bits = (weights > 0).reshape(n_out // pe, pe, n_in // simd, simd).transpose(0, 2, 1, 3).reshape(-1, pe * simd)
    return [int("".join("1" if bit else "0" for bit in row[::-1]), 2) for row in bits]


class FoldedDense(wiring.Component):
    """A dense layer of ``n_out`` neurons over ``n_in`` signs, PE neurons and SIMD inputs per cycle.

    Cycles per vector: (n_out / PE) * (n_in / SIMD), no bubble between vectors. The first result is offered
    ``6 + n_in / SIMD - 1`` cycles after the first word was taken, if they arrive one per cycle (one output fold: 4).

    Parameters
    ----------
    weights : int array (n_out, n_in)
        -1 and +1.
    thresholds : list of int (n_out,) or None
        Thresholds on match counts (see :class:`Mvtu`); without them the match counts themselves are given.
    pe, simd : int
        Divisors of n_out and n_in.
    memory : str
        Kind of the weight memory, ``"bram"`` or ``"lut"``.
    depth : int
        Words that the input buffer holds, n_in / SIMD to twice that; unused with one output fold.

    Members
    -------
    i : :py:`In(stream.Signature(simd))`
    o : as of :class:`Mvtu` or, without thresholds, :class:`SumMvtu`
    """
    def __init__(self, weights, thresholds, *, pe, simd, memory, depth):
        n_out, n_in = weights.shape
        for name, value, size in (("PE", pe, n_out), ("SIMD", simd, n_in)):
            if not isinstance(value, int) or value < 1 or size % value:
                raise ValueError(f"{name} must divide {size}, not {value!r}")
        words, folds = n_in // simd, n_out // pe
        if thresholds is None:
            self.unit = SumMvtu(pe=pe, simd=simd, words=words, folds=folds)
        else:
            self.unit = Mvtu(pe=pe, simd=simd, words=words, thresholds=thresholds)
        self.source = RomSource(weight_words(weights, pe, simd), pe * simd, memory)
        self.buffer = Replay(width=simd, words=words, repeats=folds, depth=depth) if folds > 1 else None
        super().__init__({"i": In(stream.Signature(simd)),
                          "o": Out(self.unit.signature.members["o"].signature)})

    def elaborate(self, platform):
        m = Module()

        m.submodules.unit = self.unit
        m.submodules.source = self.source
        wiring.connect(m, self.source.o, self.unit.weights)
        if self.buffer is None:
            wiring.connect(m, wiring.flipped(self.i), self.unit.i)
        else:
            m.submodules.buffer = self.buffer
            wiring.connect(m, wiring.flipped(self.i), self.buffer.i)
            wiring.connect(m, self.buffer.o, self.unit.i)
        wiring.connect(m, self.unit.o, wiring.flipped(self.o))

        return m
