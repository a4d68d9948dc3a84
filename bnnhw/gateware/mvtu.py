"""Matrix-vector-threshold unit: PE neurons over SIMD inputs per cycle."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import data, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from .popcount import Digits, count, cuts_of, xnor_digits
from .streams import RegisterSlice
from .weights import STYLES, pages

__all__ = ["Codes", "DepthwiseMvtu", "Mvtu", "Signs", "most_registers", "start_words"]

STARTS_IN_MULTIPLEXER = 4   # a LUT4 has inputs for the accumulator, "first" and two bits that select the start


def most_registers(simd):
    """The most registers that a tree over ``simd`` lanes can have inside: one less than its levels of adders of two numbers."""
    return max(0, (simd - 1).bit_length() - 1)


@dataclass(frozen=True)
class Signs:
    """One bit for each neuron: 1 where the match count is at least the threshold.

    Attributes
    ----------
    thresholds : list of lists of int (borders, n_out)
        0 and below is always, more than the greatest match count is never.
    opposite : list of lists of bool (borders, n_out), optional
        Where the bit is 1 if the match count is *below* the threshold. By default nowhere.
    """
    thresholds: list
    opposite: list | None = None

    @property
    def starts(self):
        """Where accumulators begin, (borders, n_out): at ``-t``, so that the sign of the sum is the decision."""
        return [[-int(t) for t in row] for row in self.thresholds]

    def accumulator(self, starts, reach):
        """Shape of an accumulator that begins at one of ``starts`` and counts up to ``reach``: always with a sign bit."""
        return Shape.cast(range(min(*starts, -1), max(max(starts) + reach, 0) + 1))

    def raised(self, more):
        """The same decisions of match counts that are greater by ``more``."""
        return Signs([[t + more for t in row] for row in self.thresholds], self.opposite)

    def repeated(self, count):
        """With the last neuron ``count`` times more."""
        return Signs(*([[*row, *[row[-1]] * count] for row in own] if own else None for own in (self.thresholds, self.opposite)))

    scale = 1
    width = 1

    @property
    def turned(self):
        """Whether any bit is the opposite of what the accumulator's sign says."""
        return self.opposite is not None and any(map(any, self.opposite))

    def bits(self, accumulator):
        """What a neuron gives."""
        return ~accumulator[-1]


@dataclass(frozen=True)
class Codes:
    """An unsigned number of ``width`` bits for each neuron: ``offset + scale * (match count)``, which must fit.

    Attributes
    ----------
    offsets : list of lists of int (borders, n_out)
    scale, width : int
    """
    offsets: list
    scale: int
    width: int

    turned = False

    @property
    def starts(self):
        """Where accumulators begin, (borders, n_out): they count modulo ``2**width``."""
        return [[int(offset) % (1 << self.width) for offset in row] for row in self.offsets]

    def accumulator(self, starts, reach):
        return unsigned(self.width)

    def raised(self, more):
        """The same numbers from match counts that are greater by ``more``."""
        return Codes([[offset - self.scale * more for offset in row] for row in self.offsets], self.scale, self.width)

    def repeated(self, count):
        """With the last neuron ``count`` times more."""
        return Codes([[*row, *[row[-1]] * count] for row in self.offsets], self.scale, self.width)

    def bits(self, accumulator):
        """What a neuron gives."""
        return accumulator


def start_words(result, pe, most):
    """Where the accumulators of a layer begin, as a memory whose form does not depend on the numbers.

    Parameters
    ----------
    result : Signs or Codes
    pe : int
        Neurons of a word.
    most : int
        The greatest match count that any weights could give.

    Returns
    -------
    words : list of int
        Word ``border * folds + fold``: the accumulators' bits, that of neuron ``fold * pe`` lowest. A start beyond those that
        weights of this shape can need decides the same as the last one that they can.
    shape : Shape
        Of an accumulator.
    """
    shape = result.accumulator([-(most + 1), 0], most)
    mask = (1 << shape.width) - 1
    words = []
    for row in result.starts:
        own = [max(-(most + 1), min(start, 0)) if shape.signed else start for start in row]
        words += [sum((own[fold + k] & mask) << k * shape.width for k in range(pe)) for fold in range(0, len(own), pe)]
    return words, shape


class Mvtu(wiring.Component):
    """Match counts of ``n_out`` neurons, and what ``result`` makes of them.

    A lane gives its input's code where the weight is +1, the code's complement (all bits inverted) where it is -1, nothing
    where it is 0. The match count is the sum over lanes and words: with signs, the number of agreements.

    For every vector, takes ``words`` input words per output fold, ``n_out / pe`` times over, and as many weight words, and gives
    a result word per fold. One pair of words per cycle; a result is offered 4 cycles (lanes, count, accumulator, slice)
    after its last pair was taken, and one later for each of the ``registers``. What follows the count is where the accumulator
    starts: there is no comparator.

    Cycles per vector: ``words * n_out / pe``, which is (n_out / PE) * (n_in / SIMD).

    Source: the unit and its folding follow Umuroglu et al., "FINN", 2017, arXiv:1612.07119.

    Parameters
    ----------
    pe, simd : int
        Neurons and inputs per cycle.
    words : int
        Input words of a vector, n_in / SIMD.
    result : Signs or Codes
        With as many rows as there are borders, each of n_out numbers.
    reach : list of int (n_out,)
        Greatest match count of each neuron, as its weights are.
    bits : int
        Of an input's code.
    masked : bool
        Whether weights can be 0.
    registers : int
        Inside the tree that counts, at most :func:`most_registers`.
    updatable : bool
        Keep ``result`` in block RAM (:func:`start_words`), so that other numbers change its contents and nothing else. The
        timing is the same.

    Members
    -------
    i : :py:`In(stream.Signature(StructLayout({"word": simd * bits, "border": range(borders)})))`
        Codes of the inputs, and the row of ``result`` that applies to this vector.
    weights : :py:`In(stream.Signature(pe * simd))`
        Bit ``k * simd + j`` is 1 where the weight from input ``j`` of the word to neuron ``k`` of the fold is +1. If ``masked``,
        as many bits follow that are 1 where it is not 0.
    o : :py:`Out(stream.Signature(ArrayLayout(result.width, pe)))`
        Element ``k`` belongs to neuron ``fold * pe + k``.
    """
    def __init__(self, *, pe, simd, words, result, reach, bits=1, masked=False, registers=0, updatable=False):
        for name, value in (("PE", pe), ("SIMD", simd), ("words", words), ("bits", bits)):
            if not isinstance(value, int) or value < 1:
                raise TypeError(f"{name} must be a positive integer, not {value!r}")
        if not isinstance(registers, int) or not 0 <= registers <= most_registers(simd):
            raise ValueError(f"registers must be from 0 to {most_registers(simd)} with SIMD {simd}, not {registers!r}")
        starts = result.starts
        if len(reach) % pe:
            raise ValueError(f"PE must divide the {len(reach)} neurons, not {pe}")
        if any(len(row) != len(reach) for row in starts):
            raise ValueError(f"every border's row must have {len(reach)} numbers, as many as there are neurons")
        self.pe, self.simd, self.words, self.bits, self.masked = pe, simd, words, bits, masked
        self.registers, self.updatable = registers, updatable
        self.result, self.reach, self.folds, self.borders = result, reach, len(reach) // pe, len(starts)
        self._layout = data.ArrayLayout(result.width, pe)
        super().__init__({
            "i": In(stream.Signature(data.StructLayout({"word": self._inputs() * bits, "border": range(self.borders)}))),
            "weights": In(stream.Signature(pe * simd * (2 if masked else 1))),
            "o": Out(stream.Signature(self._layout)),
        })

    def _inputs(self):
        """Inputs of a word."""
        return self.simd

    def _operand(self, k):
        """The bits of the input word that neuron ``k`` of a fold sees."""
        return self.i.p.word

    def _lanes(self, m, en, k):
        """Registered lanes of neuron ``k``: returns what makes their sum, :attr:`registers` cycles later."""
        x, size = self._operand(k), self.pe * self.simd
        signs = self.weights.payload.word_select(k, self.simd)
        mask = self.weights.payload[size:].word_select(k, self.simd) if self.masked else None
        if self.bits == 1:
            if self.masked:
                lanes = Signal(self.simd, name=f"pe{k}_lanes")
                m.d.comb += lanes.eq(~(x ^ signs) & mask)
                digits = Digits([((lane, False),) for lane in lanes], cells="plain", name=f"pe{k}")
            else:
                digits = xnor_digits(m, x, signs, name=f"pe{k}")
            digits = digits.registered(m, en)
            return lambda: count(m, digits, registers=self.registers, enable=en, name=f"pe{k}")
        values = []
        for lane in range(self.simd):
            code = x.word_select(lane, self.bits)
            value = code ^ (~signs[lane]).replicate(self.bits)
            register = Signal(self.bits, name=f"pe{k}_lane{lane}", reset_less=True)
            with m.If(en):
                m.d.sync += register.eq(value & mask[lane].replicate(self.bits) if self.masked else value)
            values.append(register)
        height = (self.simd - 1).bit_length()
        return lambda: _tree(m, values, height, cuts_of(height, self.registers), en, f"pe{k}_sum")

    def _starts(self, k):
        """Where the accumulator of neuron ``k`` begins, by border and fold."""
        return [row[n] for row in self.result.starts for n in range(k, len(self.reach), self.pe)]

    def _from_tables(self, m, en, selector, selected):
        """Where the accumulators begin, as logic: a cycle after ``selector`` says which, when that is ``selected``."""
        starts = []
        for k in range(self.pe):
            table = self._starts(k)
            shape = self.result.accumulator(table, max(self.reach[k::self.pe]))
            if len(table) <= STARTS_IN_MULTIPLEXER:
                start = _choose(m, selected, table, shape, f"initial{k}")
            else:
                start = Signal(shape, name=f"start{k}", reset_less=True)
                chosen = _choose(m, selector, table, shape, f"initial{k}")
                with m.If(en):
                    m.d.sync += start.eq(chosen)
            starts.append(start)
        return starts

    def _from_memory(self, m, en, selector):
        """The same from block RAM."""
        words, shape = start_words(self.result, self.pe, self.words * self.simd * ((1 << self.bits) - 1))
        m.submodules.rom = rom = memory.Memory(shape=shape.width * self.pe, depth=pages(len(words)), init=words,
                                               attrs=STYLES["updatable"])
        port = rom.read_port()
        m.d.comb += [port.addr.eq(selector), port.en.eq(en)]
        starts = []
        for k in range(self.pe):
            start = Signal(shape, name=f"start{k}")
            m.d.comb += start.eq(port.data.word_select(k, shape.width))
            starts.append(start)
        return starts

    def _turns(self, m, en, selected):
        """For each neuron of a fold whether its bit is the opposite, in step with the accumulators."""
        turns = []
        for k in range(self.pe):
            turn = Signal(name=f"turn{k}", reset_less=True)
            table = [int(turned) for row in self.result.opposite for turned in row[k::self.pe]]
            chosen = _choose(m, selected, table, 1, f"opposite{k}")
            with m.If(en):
                m.d.sync += turn.eq(chosen)
            turns.append(turn)
        return turns

    def elaborate(self, platform):
        m = Module()

        m.submodules.slice = out = RegisterSlice(self._layout)
        wiring.connect(m, out.o, wiring.flipped(self.o))
        done, en, taken = Signal(), Signal(), Signal()
        index, fold = Signal(range(self.words)), Signal(range(self.folds))
        last = Signal()
        m.d.comb += [
            en.eq(~done | out.i.ready),
            out.i.valid.eq(done),
            taken.eq(self.i.valid & self.weights.valid & en),
            self.i.ready.eq(self.weights.valid & en),
            self.weights.ready.eq(self.i.valid & en),
            last.eq(index == self.words - 1),
        ]
        with m.If(taken):
            m.d.sync += index.eq(Mux(last, 0, index + 1))

        # First pipeline stage: lanes, registered.
        sums = [self._lanes(m, en, k) for k in range(self.pe)]
        names = ("valid", "first", "last")
        lanes_now = {name: Signal(name=f"lanes_{name}") for name in names}
        border = Signal(range(self.borders))
        with m.If(en):
            m.d.sync += [
                lanes_now["valid"].eq(taken),
                lanes_now["first"].eq(index == 0),
                lanes_now["last"].eq(last),
                border.eq(self.i.p.border),
            ]
        for k in range(self.registers):     # of the trees: what belongs to their words passes as many
            before, lanes_now = lanes_now, {name: Signal(name=f"lanes_{name}{k}") for name in names}
            border_before, border = border, Signal.like(border, name=f"border{k}")
            with m.If(en):
                m.d.sync += [lanes_now[name].eq(before[name]) for name in names]
                m.d.sync += border.eq(border_before)

        # Second: the match count of the word, and where the accumulators of a new fold start. A small table of starts fits
        # into the multiplexer in front of the adder; a larger one is read here, so that it does not set the clock.
        selector = Signal(range(self.borders * self.folds))
        m.d.comb += selector.eq(fold + self.folds * border if self.borders > 1 else fold)
        with m.If(en & lanes_now["valid"] & lanes_now["last"]):
            m.d.sync += fold.eq(Mux(fold == self.folds - 1, 0, fold + 1))
        selected = Signal.like(selector)
        counts_now = {name: Signal(name=f"counts_{name}") for name in names}
        with m.If(en):
            m.d.sync += selected.eq(selector)
            m.d.sync += [counts_now[name].eq(lanes_now[name]) for name in names]
        starts = self._from_memory(m, en, selector) if self.updatable else self._from_tables(m, en, selector, selected)
        accumulators, counts = [], []
        for k, total in enumerate(sums):
            value = total()
            register = Signal(len(value), name=f"count{k}", reset_less=True)
            with m.If(en):
                m.d.sync += register.eq(value)
            counts.append(register)
            accumulators.append(Signal(starts[k].shape(), name=f"accumulator{k}", reset_less=True))

        # Third: the accumulators.
        with m.If(en):
            m.d.sync += done.eq(counts_now["valid"] & counts_now["last"])
            with m.If(counts_now["valid"]):
                for accumulator, start, value in zip(accumulators, starts, counts, strict=True):
                    before = Mux(counts_now["first"], start, accumulator)
                    m.d.sync += accumulator.eq(before + (value * self.result.scale if self.result.scale > 1 else value))
        found = [self.result.bits(accumulator) for accumulator in accumulators]
        if self.result.turned:
            found = [bit ^ turn for bit, turn in zip(found, self._turns(m, en & counts_now["valid"], selected), strict=True)]
        m.d.comb += Value.cast(out.i.p).eq(Cat(found))

        return m


class DepthwiseMvtu(Mvtu):
    """As :class:`Mvtu`, but each neuron of a fold has an input of its own: lane ``k`` of a word is that of neuron ``k``.

    SIMD is 1, so that there is no tree, and ``i.word`` has ``pe`` codes.
    """
    def __init__(self, *, pe, words, result, reach, bits=1, masked=False, updatable=False):
        super().__init__(pe=pe, simd=1, words=words, result=result, reach=reach, bits=bits, masked=masked, updatable=updatable)

    def _inputs(self):
        return self.pe

    def _operand(self, k):
        return self.i.p.word.word_select(k, self.bits)


def _tree(m, values, height, cuts, en, name):
    """The sum of ``values``, as a balanced tree of so many levels, with a register behind each of the levels ``cuts``."""
    if height == 0:
        return values[0]
    half = len(values) // 2
    parts = [_tree(m, part, height - 1, cuts, en, f"{name}{k}") for k, part in enumerate((values[:half], values[half:])) if part]
    total = parts[0] if len(parts) == 1 else parts[0] + parts[1]
    for k in range(cuts.count(height)):
        register = Signal(len(total), name=f"{name}_r{k}", reset_less=True)
        with m.If(en):
            m.d.sync += register.eq(total)
        total = register
    return total


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
