# amaranth: UnusedElaboratable=no
import random
import re

import numpy as np
import pytest
from amaranth import *
from amaranth.back import verilog
from amaranth.sim import Simulator
from amaranth.utils import bits_for
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware import heap
from bnnhw.gateware.compressors import FULL_ADDER
from bnnhw.gateware.luts import Tables
from bnnhw.gateware.popcount import Digits, XnorPopcount, count, held_bits, reaches_literal, xnor_digits

from . import proofs, streams
from .test_compressors import broken


def corners(lanes, seed, count=20):
    """Vectors of ``lanes`` bits: all zeros, all ones, random ones of every density."""
    rng = random.Random(seed)
    vectors = [0, (1 << lanes) - 1]
    for _ in range(count):
        density = rng.random()
        vectors.append(sum((rng.random() < density) << k for k in range(lanes)))
    return vectors


def simulate(build, lanes, vectors):
    """The values of ``build(m, x)`` for ``vectors`` of x."""
    m, x = Module(), Signal(lanes)
    outputs = build(m, x)
    results = []

    async def bench(ctx):
        for vector in vectors:
            ctx.set(x, vector)
            results.append([ctx.get(output) for output in outputs])

    sim = Simulator(m)
    sim.add_testbench(bench)
    sim.run()
    return results


def constant_digits(x, w=None, *, cells="plain", name="x"):
    """Where ``x`` agrees with the integer ``w``, all ones where there is none."""
    return Digits([((x[k], w is not None and not w >> k & 1),) for k in range(len(x))], cells=cells, name=name)


def reaches(m, digits, threshold, *, name):
    """Whether so many of ``digits`` are ones: a Signal."""
    tables, result = Tables(), Signal(name=name)
    literals, sources = digits.literals(tables)
    literal = reaches_literal(tables, literals, digits.lanes, threshold, cells=digits.cells)
    m.d.comb += result.eq(tables.emit(m, sources, [literal], name=name)[0])
    return result


# ---- the functions, in simulation ----


@given(st.integers(1, 70), st.data())
@settings(deadline=None, max_examples=40)
def test_count_and_reaches(lanes, draw):
    """XNOR digits and constant digits, any weights, additions and thresholds, against counting in Python."""
    w = draw.draw(st.integers(0, (1 << lanes) - 1), "w")
    add = draw.draw(st.integers(-2 * lanes - 3, 2 * lanes + 3), "add")
    threshold = draw.draw(st.integers(-2, lanes + 3), "threshold")
    cells = draw.draw(st.sampled_from(heap.CELLS), "cells")
    vectors = [vector ^ w for vector in corners(lanes, lanes)]

    def build(m, x):
        both = [xnor_digits(m, x, Const(w, lanes), cells=cells, name="a"),
                constant_digits(x, w, cells=cells, name="b")]
        outputs = []
        for at, digits in enumerate(both):
            outputs += [count(m, digits, name=f"plain{at}"),
                        count(m, digits, add=add, name=f"added{at}"),
                        reaches(m, digits, threshold, name=f"reached{at}")]
        assert [len(output) for output in outputs[:2]] == [bits_for(lanes), bits_for(lanes + max(add, 0))]
        return outputs

    modulus = 1 << bits_for(lanes + max(add, 0))
    for vector, got in zip(vectors, simulate(build, lanes, vectors), strict=True):
        matches = lanes - (vector ^ w).bit_count()
        assert got == [matches, (matches + add) % modulus, int(matches >= threshold)] * 2


@pytest.mark.parametrize("lanes", [1, 2, 3, 8, 9])
def test_every_threshold(lanes):
    """All of them, two beyond either end, on all vectors."""
    thresholds = range(-2, lanes + 4)

    def build(m, x):
        digits = constant_digits(x)
        return [reaches(m, digits, threshold, name=f"r{at}") for at, threshold in enumerate(thresholds)]

    for vector, got in enumerate(simulate(build, lanes, range(1 << lanes))):
        assert got == [int(vector.bit_count() >= threshold) for threshold in thresholds]


def test_width_of_a_count():
    def build(m, x):
        digits = constant_digits(x)
        return [count(m, digits, width=2, name="narrow"), count(m, digits, add=-5, width=6, name="wide")]

    for vector, got in enumerate(simulate(build, 5, range(32))):
        assert got == [vector.bit_count() % 4, (vector.bit_count() - 5) % 64]


def test_count_into_an_accumulator():
    """Unsigned counts added to a signed accumulator that starts at minus the threshold."""
    def build(m, x):
        accumulator = Const(-5, signed(6))
        return [accumulator + count(m, constant_digits(x), name="c")]

    for vector, got in enumerate(simulate(build, 7, range(128))):
        assert got == [vector.bit_count() - 5]


def test_registered_digits():
    """One cycle later, and only when enabled."""
    m, x, w, en = Module(), Signal(11), Signal(11), Signal()
    both = [xnor_digits(m, x, w, cells="coded", name="a"), constant_digits(x, 0x155, name="b")]
    outputs = [count(m, digits.registered(m, en), name=f"c{at}") for at, digits in enumerate(both)]
    rng = random.Random(0)

    async def bench(ctx):
        held = None
        for _ in range(100):
            a, b, enabled = rng.getrandbits(11), rng.getrandbits(11), rng.getrandbits(1)
            ctx.set(x, a)
            ctx.set(w, b)
            ctx.set(en, enabled)
            await ctx.tick()
            if enabled:
                held = [11 - (a ^ b).bit_count(), 11 - (a ^ 0x155).bit_count()]
            if held is not None:
                assert [ctx.get(output) for output in outputs] == held

    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(bench)
    sim.run()


@pytest.mark.parametrize("call, message", [
    (lambda m: xnor_digits(m, Signal(4), Signal(3), name="fc"), "fc: x and w must be equally long, not 4 and 3"),
    (lambda m: xnor_digits(m, Signal(4), Signal(4), cells="x", name="fc"),
     "fc: cells must be one of ['plain', 'coded', 'lut6'], not 'x'"),
])
def test_wrong_lengths(call, message):
    with pytest.raises(ValueError) as error:
        call(Module())
    assert str(error.value) == message


# ---- whole trees, all inputs ----


class Trees(Elaboratable):
    """count with and without addition, and reaches for every threshold, of ``lanes`` XNORs."""
    def __init__(self, lanes, add, cells):
        self.lanes, self.add, self.cells = lanes, add, cells
        self.x = Signal(lanes)
        self.w = Signal(lanes)
        self.count = Signal(bits_for(lanes))
        self.added = Signal(bits_for(lanes) + 2)
        self.reached = Signal(lanes + 2)
        self.ports = [self.x, self.w, self.count, self.added, self.reached]

    def elaborate(self, platform):
        m = Module()
        digits = xnor_digits(m, self.x, self.w, cells=self.cells, name="lanes")
        reached = [reaches(m, digits, threshold, name=f"r{threshold}")
                   for threshold in range(self.lanes + 2)]
        m.d.comb += [
            self.count.eq(count(m, digits, name="c")),
            self.added.eq(count(m, digits, add=self.add, width=len(self.added), name="d")),
            self.reached.eq(Cat(reached)),
        ]
        return m


def miter(lanes, add, cells, folder):
    """Prove the trees against a sum of bits; ``lanes`` up to some 12, beyond it the solver does not come back."""
    from amaranth.back import verilog

    dut = Trees(lanes, add, cells)
    source = verilog.convert(dut, name="dut", ports=dut.ports, emit_src=False)
    bits = " + ".join(f"(x[{k}] == w[{k}])" for k in range(lanes))
    reached = ", ".join(f"plain >= {threshold}" for threshold in reversed(range(lanes + 2)))
    source += f"""
module miter(input [{lanes - 1}:0] x, w, output ok);
  wire [{len(dut.count) - 1}:0] count;
  wire [{len(dut.added) - 1}:0] added;
  wire [{lanes + 1}:0] reached;
  wire [7:0] plain = 8'd0 + {bits};
  wire [{len(dut.added) - 1}:0] sum = plain + {add % (1 << len(dut.added))};
  dut dut_i (.x(x), .w(w), .count(count), .added(added), .reached(reached));
  assign ok = count == plain && added == sum && reached == {{{reached}}};
endmodule
"""
    return proofs.holds(source, "miter", folder)


@pytest.mark.parametrize("cells", heap.CELLS)
@pytest.mark.parametrize("lanes", [1, 2, 3, 5, 8, 11])
def test_tree_is_proven(lanes, cells, tmp_path):
    assert miter(lanes, -3, cells, tmp_path)


def test_proof_sees_a_broken_tree(tmp_path, monkeypatch):
    monkeypatch.setattr(heap, "FULL_ADDER", broken(FULL_ADDER, 1))
    assert not miter(8, -3, "plain", tmp_path)


# ---- the component ----


@pytest.mark.parametrize("simd", [1, 2, 7, 64])
@pytest.mark.parametrize("p_valid, p_ready", [(1.0, 1.0), (0.4, 1.0), (1.0, 0.4), (0.6, 0.6)])
def test_dot_product(simd, p_valid, p_ready):
    signs = np.random.default_rng(simd).choice([-1, 1], size=(50, 2, simd))
    words = [[sum(1 << k for k in np.flatnonzero(v > 0).tolist()) for v in p] for p in signs]
    counts, cycles = streams.run(XnorPopcount(simd), [{"x": x, "w": w} for x, w in words],
                                 count=50, p_valid=p_valid, p_ready=p_ready)
    assert [2 * count - simd for count in counts] == signs.prod(axis=1).sum(axis=1).tolist()
    if p_valid == p_ready == 1.0:
        assert cycles == 50 + 1


def test_wrong_simd():
    with pytest.raises(TypeError, match=r"^SIMD must be a positive integer, not 0$"):
        XnorPopcount(0)


@pytest.mark.parametrize("lanes, registers", [(3, 1), (8, 2), (33, 1), (98, 3)])
def test_registers_of_a_tree(lanes, registers):
    """As many flip-flops as :func:`held_bits` says, and the count so many cycles later, held while they are not enabled."""
    m, x, en = Module(), Signal(lanes), Signal()
    digits = constant_digits(x)
    total = count(m, digits, registers=registers, enable=en, name="c")
    text = verilog.convert(m, name="top", ports=[x, en, total], emit_src=False)
    flipflops = re.findall(r"^  reg (?:\[(\d+):0\] )?\w+_r\d+\b", text, re.M)
    assert sum(int(high or 0) + 1 for high in flipflops) == held_bits(lanes, registers)

    async def drive(ctx):
        rng, taken = random.Random(lanes), []
        for _ in range(60):
            value, moves = rng.getrandbits(lanes), rng.random() < 0.7
            ctx.set(x, value)
            ctx.set(en, moves)
            taken += [value.bit_count()] if moves else []
            await ctx.tick()
            assert len(taken) < registers or ctx.get(total) == taken[-registers]
    sim = Simulator(m)
    sim.add_clock(1e-6)
    sim.add_testbench(drive)
    sim.run()
