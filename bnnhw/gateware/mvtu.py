"""Matrix-vector-threshold unit: PE neurons over SIMD inputs per cycle."""

from amaranth import *
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from .popcount import count, xnor_digits
from .streams import RegisterSlice

__all__ = ["Mvtu", "SumMvtu"]

FOLDS_IN_MULTIPLEXER = 4    # a LUT4 has inputs for the accumulator, "first" and two bits of the fold


class _Folds(wiring.Component):
    """What both units share: the pipeline of XNOR digits, popcount and accumulator for PE neurons."""

    def __init__(self, members, *, pe, simd, words, folds):
        for name, value in (("PE", pe), ("SIMD", simd), ("words", words), ("folds", folds)):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        self.pe, self.simd, self.words, self.folds = pe, simd, words, folds
        super().__init__({
            "i": In(stream.Signature(simd)),
            "weights": In(stream.Signature(pe * simd)),
        } | members)

    def accumulate(self, m, out, initial, accumulator):
        """Build the pipeline into ``m``.

        ``initial(fold, k)`` gives what the ``k``-th accumulator starts from in output fold ``fold``;
        ``accumulator`` is the list of PE signals. The caller drives ``out``'s payload from them.
        """
        done = Signal()
        en = Signal()
        m.d.comb += [
            en.eq(~done | out.i.ready),
            out.i.valid.eq(done),
        ]

        # First pipeline stage: XNOR, registered as pair digits.
        taken = Signal()
        index = Signal(range(self.words))
        fold = Signal(range(self.folds))
        last = Signal()
        m.d.comb += [
            taken.eq(self.i.valid & self.weights.valid & en),
            self.i.ready.eq(self.weights.valid & en),
            self.weights.ready.eq(self.i.valid & en),
            last.eq(index == self.words - 1),
        ]
        with m.If(taken):
            m.d.sync += index.eq(Mux(last, 0, index + 1))

        digits = [
            xnor_digits(m, self.i.payload, self.weights.payload.word_select(k, self.simd), name=f"pe{k}").registered(m, en)
            for k in range(self.pe)
        ]
        names = ("valid", "first", "last")
        digits_now = {name: Signal(name=f"digits_{name}") for name in names}
        counts_now = {name: Signal(name=f"counts_{name}") for name in names}
        with m.If(en):
            m.d.sync += [
                digits_now["valid"].eq(taken),
                digits_now["first"].eq(index == 0),
                digits_now["last"].eq(last),
            ]

        # Second: the number of agreements, and where the accumulators of a new fold start. A small table of starts fits
        # into the multiplexer in front of the adder; a larger one is read here, so that it does not set the clock.
        counts, starts = [], []
        with m.If(en & digits_now["valid"] & digits_now["last"]):
            m.d.sync += fold.eq(Mux(fold == self.folds - 1, 0, fold + 1))
        counts_fold = Signal.like(fold)
        with m.If(en):
            m.d.sync += counts_fold.eq(fold)
        for k in range(self.pe):
            if self.folds <= FOLDS_IN_MULTIPLEXER:
                start = initial(counts_fold, k)
            else:
                table = initial(fold, k)
                start = Signal(table.shape(), name=f"start{k}", reset_less=True)
                with m.If(en):
                    m.d.sync += start.eq(table)
            starts.append(start)
            value = count(m, digits[k], name=f"pe{k}")
            register = Signal(len(value), name=f"count{k}", reset_less=True)
            with m.If(en):
                m.d.sync += register.eq(value)
            counts.append(register)
        with m.If(en):
            m.d.sync += [counts_now[name].eq(digits_now[name]) for name in names]

        # Third: the accumulators.
        with m.If(en):
            m.d.sync += done.eq(counts_now["valid"] & counts_now["last"])
            with m.If(counts_now["valid"]):
                for k in range(self.pe):
                    before = Mux(counts_now["first"], starts[k], accumulator[k])
                    m.d.sync += accumulator[k].eq(before + counts[k])


def _choose(m, selector, values, shape, name):
    """The constant ``values[selector]``: a table that synthesis merges into whatever reads it."""
    if len(set(values)) == 1:
        return Const(values[0], shape)
    chosen = Signal(shape, name=name)
    with m.Switch(selector):
        for index, value in enumerate(values):
            with m.Case(index):
                m.d.comb += chosen.eq(value)
    return chosen


class Mvtu(_Folds):
    """Signs of thresholded match counts: bit ``k`` of a result is 1 where neuron ``fold * pe + k`` reaches its threshold.

    For every vector, takes ``words`` input words per output fold, ``folds`` times over, and as many weight words, and
    gives ``folds`` results. One pair of words per cycle; a result is offered 4 cycles (digits, count, accumulator, slice) after
    its last pair was taken. The threshold is where the accumulator starts: at ``-t``, so that the sign of the sum is the
    decision and no comparator is needed.

    Cycles per vector: ``words * folds``, which is (n_out / PE) * (n_in / SIMD).

    Source: the unit and its folding follow Umuroglu et al., "FINN", 2017, arXiv:1612.07119.

    Parameters
    ----------
    pe, simd : int
        Neurons and inputs per cycle.
    words : int
        Input words of a vector, n_in / SIMD.
    thresholds : list of int, (n_out,)
        The result is 1 where the match count is at least the threshold; 0 is always, n_in + 1 is never.

    Members
    -------
    i : :py:`In(stream.Signature(simd))`
        Inputs, one bit each: 1 is +1.
    weights : :py:`In(stream.Signature(pe * simd))`
        Bit ``k * simd + j`` is the weight from input ``j`` of the word to neuron ``k`` of the fold.
    o : :py:`Out(stream.Signature(pe))`
    """
    def __init__(self, *, pe, simd, words, thresholds):
        if len(thresholds) % pe:
            raise ValueError(f"PE must divide the {len(thresholds)} neurons, not {pe}")
        for threshold in thresholds:
            if not 0 <= threshold <= words * simd + 1:
                raise ValueError(f"thresholds must be 0 to {words * simd + 1}, not {threshold}")
        self.thresholds = [int(t) for t in thresholds]
        super().__init__({"o": Out(stream.Signature(pe))}, pe=pe, simd=simd, words=words, folds=len(thresholds) // pe)

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self.pe)
        wiring.connect(m, out.o, wiring.flipped(self.o))

        accumulators = []
        for k in range(self.pe):
            own = self.thresholds[k::self.pe]
            reach = range(min(-max(own), -1), self.words * self.simd - min(own) + 1)     # always with a sign bit
            accumulators.append(Signal(reach, name=f"accumulator{k}", reset_less=True))

        def initial(fold, k):
            own = self.thresholds[k::self.pe]
            return _choose(m, fold, [-t for t in own], accumulators[k].shape(), f"initial{k}")

        self.accumulate(m, out, initial, accumulators)
        m.d.comb += out.i.payload.eq(Cat(~a[-1] for a in accumulators))

        return m


class SumMvtu(_Folds):
    """Match counts: element ``k`` of a result is the number of agreements of neuron ``fold * pe + k``.

    Timing as :class:`Mvtu`.

    Parameters
    ----------
    pe, simd, words : int
    folds : int
        n_out / PE.

    Members
    -------
    i, weights
        As of :class:`Mvtu`.
    o : :py:`Out(stream.Signature(ArrayLayout(range(n_in + 1), pe)))`
    """
    def __init__(self, *, pe, simd, words, folds):
        self._layout = data.ArrayLayout(Shape.cast(range(words * simd + 1)), pe)
        super().__init__({"o": Out(stream.Signature(self._layout))}, pe=pe, simd=simd, words=words, folds=folds)

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self._layout)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        accumulators = [Signal(range(self.words * self.simd + 1), name=f"accumulator{k}", reset_less=True)
                        for k in range(self.pe)]
        self.accumulate(m, out, lambda fold, k: Const(0, 1), accumulators)
        m.d.comb += Value.cast(out.i.p).eq(Cat(accumulators))

        return m
