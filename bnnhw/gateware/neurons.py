"""Fully unfolded layers: neurons over the same inputs, weights and thresholds as constants in the logic."""

import numpy as np
from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from .heap import Heap
from .luts import Tables
from .popcount import reaches_literal
from .streams import RegisterSlice

__all__ = ["Neurons", "Sums"]


def _checked_weights(weights):
    weights = np.asarray(weights)
    if weights.ndim != 2 or 0 in weights.shape or not np.isin(weights, (-1, 1)).all():
        raise ValueError(f"weights must be an array (n_out, n_in) of -1 and +1, not {weights.dtype} {weights.shape}")
    return weights.astype(np.int8)


class _Unfolded(wiring.Component):
    """What both layers share: inputs to tables, tables cut into pipeline stages, a register slice at the end."""
    def __init__(self, weights, shape, *, stages, cells):
        self.weights = _checked_weights(weights)
        if not isinstance(stages, int) or stages < 1:
            raise ValueError(f"stages must be a positive integer, not {stages!r}")
        self.stages = stages
        self.cells = cells
        self.shape = shape
        self.tables = Tables()
        self._sources = [self.tables.source() for _ in range(self.weights.shape[1])]
        self._outputs = self._build()
        super().__init__({
            "i": In(stream.Signature(self.weights.shape[1])),
            "o": Out(stream.Signature(shape)),
        })

    def _digits(self, row):
        """Match bits of one neuron, as digits: a weight of -1 inverts its input."""
        return [(source ^ int(weight < 0),) for source, weight in zip(self._sources, self.weights[row], strict=True)]

    @property
    def latency(self):
        """Cycles from a vector's being taken to its result's being offered."""
        return self.stages

    @property
    def levels(self):
        """Tables in a row, in the whole of the layer."""
        return self.tables.level(*self._outputs)

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self.shape)
        x = Signal(self.weights.shape[1])
        m.d.comb += x.eq(self.i.p)
        # Equal shares of the levels; a register that would follow no level is there all the same (fixed latency).
        cuts = tuple(self.levels * stage // self.stages for stage in range(1, self.stages))
        bits = self.tables.emit(m, list(x), self._outputs, name="t", cuts=cuts, enable=out.i.ready)
        valid = self.i.valid
        for stage in range(1, self.stages):
            register = Signal(name=f"valid{stage}")
            with m.If(out.i.ready):
                m.d.sync += register.eq(valid)
            valid = register
        m.d.comb += [
            self.i.ready.eq(out.i.ready),
            out.i.valid.eq(valid),
            Value.cast(out.i.p).eq(Cat(bits)),
        ]
        wiring.connect(m, out.o, wiring.flipped(self.o))

        return m


class Neurons(_Unfolded):
    """A layer of neurons, all of them in parallel: bit ``k`` of the result says whether neuron ``k`` fires.

    Neuron ``k`` counts the inputs that match its weights, p = popcount(xnor(x, w)), and fires if p >= threshold
    (rising) or p <= threshold (falling). One vector per cycle, latency ``stages`` cycles; no combinational path from
    one stream to the other. The neurons' logic is one set of tables in one module, where equal tables are shared.

    Parameters
    ----------
    weights : int8 array (n_out, n_in), each -1 or +1
    thresholds : int array (n_out,)
        Any integers, in match counts.
    falling : bool array (n_out,)
    stages : int
        Register stages, at least 1. The levels of logic are shared out equally among them.
    cells : str
        ``"plain"``, ``"coded"`` or ``"lut6"``, see :class:`.heap.Heap`.

    Members
    -------
    i : :py:`In(stream.Signature(n_in))`
        Bit ``k`` is input ``k``: 1 is +1, 0 is -1.
    o : :py:`Out(stream.Signature(n_out))`
    """
    def __init__(self, weights, thresholds, falling, *, stages=1, cells="plain"):
        n_out = len(_checked_weights(weights))
        self.thresholds = [int(threshold) for threshold in thresholds]
        self.falling = [bool(flag) for flag in falling]
        if len(self.thresholds) != n_out or len(self.falling) != n_out:
            raise ValueError(f"{n_out} neurons need {n_out} thresholds and flags, "
                             f"not {len(self.thresholds)} and {len(self.falling)}")
        super().__init__(weights, unsigned(n_out), stages=stages, cells=cells)

    def _build(self):
        lanes = self.weights.shape[1]
        outputs = []
        for row, (threshold, falling) in enumerate(zip(self.thresholds, self.falling, strict=True)):
            # p <= t is the opposite of p >= t + 1
            literal = reaches_literal(self.tables, self._digits(row), lanes, threshold + falling, cells=self.cells)
            outputs.append(literal ^ int(falling))
        return outputs


class Sums(_Unfolded):
    """A layer's match counts, all of them in parallel: element ``k`` of the result is p = popcount(xnor(x, w[k])).

    The dot product is 2 * p - n_in. One vector per cycle, latency ``stages`` cycles; no combinational path from one
    stream to the other.

    Parameters
    ----------
    weights : int8 array (n_out, n_in), each -1 or +1
    stages : int
        Register stages, at least 1. The levels of logic are shared out equally among them.
    cells : str
        ``"plain"``, ``"coded"`` or ``"lut6"``, see :class:`.heap.Heap`.

    Members
    -------
    i : :py:`In(stream.Signature(n_in))`
        Bit ``k`` is input ``k``: 1 is +1, 0 is -1.
    o : :py:`Out(stream.Signature(ArrayLayout(unsigned(bits_for(n_in)), n_out)))`
    """
    def __init__(self, weights, *, stages=1, cells="plain"):
        n_out, n_in = _checked_weights(weights).shape
        self.width = bits_for(n_in)
        super().__init__(weights, data.ArrayLayout(unsigned(self.width), n_out), stages=stages, cells=cells)

    def _build(self):
        return [bit for row in range(len(self.weights))
                for bit in Heap(self.tables, self._digits(row), width=self.width, cells=self.cells).bits()]
