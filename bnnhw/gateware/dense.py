"""A folded dense layer: input buffer, weights and matrix-vector unit joined to one stage."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .mvtu import Mvtu
from .padding import filled, grouped, padded_layer, trimmed
from .replay import Replay
from .streams import sliced
from .weights import RomSource, style_for, weight_words

__all__ = ["FoldedDense", "starts_style"]


def starts_style(result, pe, memory):
    """Where a layer's thresholds are: ``"lut"``, ``"bram"`` or, where the layer's memory is that, ``"updatable"``.

    Those of one task are logic. Banks of several are a memory, word ``task * folds + fold``, unless it is small.
    """
    rows = len(result.starts)
    if rows == 1 or memory == "updatable":
        return "updatable" if memory == "updatable" else "lut"
    words = rows * len(result.starts[0]) // pe
    low, high = min(map(min, result.starts)), max(map(max, result.starts))
    return style_for(words * pe * (high - low).bit_length(), words) if memory == "bram" else "lut"


class FoldedDense(wiring.Component):
    """A dense layer of ``n_out`` neurons over ``n_in`` inputs, PE neurons and SIMD inputs per cycle.

    Cycles per vector: (n_out / PE) * (n_in / SIMD), both rounded up, no bubble between vectors. The first result is offered
    ``6 + n_in / SIMD - 1`` cycles after the first word was taken, if they arrive one per cycle (one output fold: 4).

    Where PE or SIMD does not divide its size, what is missing is made up inside (:mod:`.padding`): one narrow word per cycle
    goes in and out, which may take more cycles than that. Where PE does not, a result comes a cycle later.

    Parameters
    ----------
    weights : int array (n_out, n_in)
        -1, 0 and +1.
    result : Signs or Codes
        What is made of the match counts (see :class:`Mvtu`): a row for each task.
    reach : list of int (n_out,)
        Greatest match counts.
    pe, simd : int
        From 1 to n_out and to n_in.
    memory : str
        Kind of the weight memory, ``"bram"`` or ``"lut"``; ``"updatable"``: all that weights and result say is in block RAM.
    depth : int
        Words of SIMD inputs that the input buffer holds, those of a vector to twice as many; unused with one output fold.
    bits : int
        Of an input's code.
    registers : int
        As of :class:`Mvtu`: a result comes so many cycles later.
    slices : bool
        Whether a register slice stands behind the input buffer, and a register behind the memory of weights: with several output
        folds a result comes one cycle later.

    Members
    -------
    i : :py:`In(stream.Signature(gcd(simd, n_in) * bits))`
    task : :py:`In(stream.Signature(range(tasks)))`
        With several tasks that of each vector, the row of ``result`` that applies. It is taken with the vector's last word; while
        none is there, no word goes on.
    o : :py:`Out(stream.Signature(ArrayLayout(result.width, gcd(pe, n_out))))`
    """
    def __init__(self, weights, result, *, reach, pe, simd, memory, depth, bits=1, registers=0, slices=False):
        n_out, n_in = weights.shape
        self.rows, self.columns, self.bits = grouped("PE", n_out, pe), grouped("SIMD", n_in, simd), bits
        self.slices, self.result_bits = slices, result.width
        words, folds = self.columns.words, self.rows.words
        weights, result, reach = padded_layer(weights[:, None], result, reach, pe, simd)
        self.unit = Mvtu(pe=pe, simd=simd, words=words, result=result, reach=reach, bits=bits, masked=not weights.all(),
                         registers=registers, updatable=starts_style(result, pe, memory) != "lut")
        self.source = RomSource(*weight_words(weights, pe, simd), memory, slices)
        self.buffer = Replay(width=simd * bits, words=words, repeats=folds, depth=depth) if folds > 1 else None
        self.tasks = len(result.starts)
        super().__init__({"i": In(stream.Signature(self.columns.narrow * bits)),
                          "o": Out(stream.Signature(data.ArrayLayout(result.width, self.rows.narrow)))}
                         | ({"task": In(stream.Signature(range(self.tasks)))} if self.tasks > 1 else {}))

    def elaborate(self, platform):
        m = Module()

        m.submodules.unit = self.unit
        m.submodules.source = self.source
        wiring.connect(m, self.source.o, self.unit.weights)
        words = filled(m, wiring.flipped(self.i), self.columns, self.bits)
        if self.buffer is not None:
            m.submodules.buffer = self.buffer
            wiring.connect(m, words, self.buffer.i)
            words = sliced(m, self.buffer.o, "fetched") if self.slices else self.buffer.o
        valid, ready = words.valid, self.unit.i.ready
        if self.tasks > 1:
            known = self._task(m)
            valid, ready = valid & known, ready & known
        m.d.comb += [
            self.unit.i.p.word.eq(words.payload),
            self.unit.i.valid.eq(valid),
            words.ready.eq(ready),
        ]
        trimmed(m, self.unit.o, wiring.flipped(self.o), self.rows, self.result_bits)

        return m

    def _task(self, m):
        """Let the vector's task choose the unit's row: returns whether it is there."""
        words = self.unit.words * self.unit.folds
        left = Signal(range(words), init=words - 1)
        taken = self.unit.i.valid & self.unit.i.ready
        m.d.comb += [
            self.unit.i.p.border.eq(self.task.payload),
            self.task.ready.eq(taken & (left == 0)),
        ]
        with m.If(taken):
            m.d.sync += left.eq(Mux(left == 0, words - 1, left - 1))
        return self.task.valid
