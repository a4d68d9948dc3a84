"""A folded dense layer: input buffer, weights and matrix-vector unit joined to one stage."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from .mvtu import Mvtu
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

    Cycles per vector: (n_out / PE) * (n_in / SIMD), no bubble between vectors. The first result is offered
    ``6 + n_in / SIMD - 1`` cycles after the first word was taken, if they arrive one per cycle (one output fold: 4).

    Parameters
    ----------
    weights : int array (n_out, n_in)
        -1, 0 and +1.
    result : Signs or Codes
        What is made of the match counts (see :class:`Mvtu`): a row for each task.
    reach : list of int (n_out,)
        Greatest match counts.
    pe, simd : int
        Divisors of n_out and n_in.
    memory : str
        Kind of the weight memory, ``"bram"`` or ``"lut"``; ``"updatable"``: all that weights and result say is in block RAM.
    depth : int
        Words that the input buffer holds, n_in / SIMD to twice that; unused with one output fold.
    bits : int
        Of an input's code.
    registers : int
        As of :class:`Mvtu`: a result comes so many cycles later.
    slices : bool
        Whether a register slice stands behind the input buffer, and a register behind the memory of weights: with several output
        folds a result comes one cycle later.

    Members
    -------
    i : :py:`In(stream.Signature(simd * bits))`
    task : :py:`In(stream.Signature(range(tasks)))`
        With several tasks that of each vector, the row of ``result`` that applies. It is taken with the vector's last word; while
        none is there, no word goes on.
    o : as of :class:`Mvtu`
    """
    def __init__(self, weights, result, *, reach, pe, simd, memory, depth, bits=1, registers=0, slices=False):
        n_out, n_in = weights.shape
        for name, value, size in (("PE", pe, n_out), ("SIMD", simd, n_in)):
            if not isinstance(value, int) or value < 1 or size % value:
                raise ValueError(f"{name} must divide {size}, not {value!r}")
        words, folds = n_in // simd, n_out // pe
        self.unit = Mvtu(pe=pe, simd=simd, words=words, result=result, reach=reach, bits=bits, masked=not weights.all(),
                         registers=registers, updatable=starts_style(result, pe, memory) != "lut")
        self.source = RomSource(*weight_words(weights, pe, simd), memory, slices)
        self.slices = slices
        self.buffer = Replay(width=simd * bits, words=words, repeats=folds, depth=depth) if folds > 1 else None
        self.tasks = len(result.starts)
        super().__init__({"i": In(stream.Signature(simd * bits)),
                          "o": Out(self.unit.signature.members["o"].signature)}
                         | ({"task": In(stream.Signature(range(self.tasks)))} if self.tasks > 1 else {}))

    def elaborate(self, platform):
        m = Module()

        m.submodules.unit = self.unit
        m.submodules.source = self.source
        wiring.connect(m, self.source.o, self.unit.weights)
        words = self.i
        if self.buffer is not None:
            m.submodules.buffer = self.buffer
            wiring.connect(m, wiring.flipped(self.i), self.buffer.i)
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
        wiring.connect(m, self.unit.o, wiring.flipped(self.o))

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
