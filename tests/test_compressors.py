import random
from dataclasses import replace

import pytest
from amaranth import *
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware import heap as heap_module
from bnnhw.gateware.compressors import COMPRESSORS, FULL_ADDER, MDFA, CompressorCell
from bnnhw.gateware.heap import Cell, Digit, Heap
from bnnhw.gateware.luts import FALSE, TRUE, Tables

from . import proofs

# ---- each cell, all inputs ----


def value(code, prefix, column):
    """What a digit counts, in Verilog: a pair p,q stands for the bits q and p ^ q."""
    names = [prefix + name for name in code.split(",")]
    plain = names[0] if len(names) == 1 else f"({names[1]} + ({names[0]} ^ {names[1]}))"
    return f"({plain} << {column})"


def specification(compressor):
    """Verilog of a module ``check`` whose ``ok`` says that the module ``cell`` beside it conserves the sum."""
    inputs = [f"i_{name}" for name in compressor.input_names]
    outputs = [f"o_{name}" for name in compressor.output_names]
    before = " + ".join(value(code, "i_", 0) for code in compressor.inputs)
    after = " + ".join(value(code, "o_", column) for code, column in compressor.outputs)
    ports = ", ".join(f".{name}({name})" for name in inputs + outputs)
    return f"""
module check(input {", ".join(inputs)}, output ok);
  wire {", ".join(outputs)};
  \\cell cell_i ({ports});
  wire [7:0] before = {before};
  wire [7:0] after = {after};
  assign ok = before == after;
endmodule
"""


def proven(compressor, folder):
    return proofs.holds(proofs.emitted(CompressorCell(compressor), "cell") + specification(compressor), "check", folder)


def broken(compressor, which):
    """``compressor`` with the last entry of one table inverted."""
    luts = list(compressor.luts)
    function = luts[which].function
    luts[which] = luts[which]._replace(function=lambda *bits: function(*bits) ^ int(all(bits)))
    return replace(compressor, luts=tuple(luts))


@pytest.mark.parametrize("compressor", COMPRESSORS, ids=lambda compressor: compressor.name)
def test_cell_conserves_the_sum(compressor, tmp_path):
    assert proven(compressor, tmp_path)


@pytest.mark.parametrize("compressor", COMPRESSORS, ids=lambda compressor: compressor.name)
def test_proof_sees_a_broken_table(compressor, tmp_path):
    assert not proven(broken(compressor, len(compressor.luts) - 1), tmp_path)


def test_costs():
    """The tables that a cell takes: three for two full adders where the digits are coded."""
    costs = {}
    for compressor in COMPRESSORS:
        tables = Tables()
        compressor.build(tables, [tuple(tables.source() for _ in code.split(",")) for code in compressor.inputs])
        costs[compressor.name] = len(tables)
        assert max(len(inputs) for _, inputs in tables.nodes) <= (6 if compressor.name == "counter_63" else 4)
    assert costs == {"half_adder": 2, "pair_half_adder": 1, "full_adder": 2, "pair_full_adder": 2,
                     "mdfa": 3, "mixed_53": 4, "plain_53": 4, "counter_63": 3}


# ---- lists of cells ----


@st.composite
def heaps(draw):
    tables = Tables()
    bits, pairs = draw(st.integers(0, 40)), draw(st.integers(0, 20))
    lanes = bits + 2 * pairs
    digits = [(tables.source(),) for _ in range(bits)] + [(tables.source(), tables.source()) for _ in range(pairs)]
    digits = [tuple(bit ^ draw(st.integers(0, 1)) for bit in digit) for digit in digits]
    width = draw(st.integers(1, 8))
    add = draw(st.integers(-300, 300))
    return Heap(tables, digits, add=add, width=width, cells=draw(st.sampled_from(heap_module.CELLS)),
                earliest=draw(st.booleans())), lanes


@given(heaps(), st.integers(0, 2**32))
@settings(deadline=None, max_examples=60)
def test_heap_adds(drawn, seed):
    """Its tables, evaluated on 64 random vectors at once, give the sum of the digits."""
    heap, lanes = drawn
    heap.check()
    rng = random.Random(seed)
    free = [node for node, (table, _) in enumerate(heap.tables.nodes) if node and table is None]
    assert len(free) == lanes
    words = [rng.getrandbits(64) for _ in free]
    valued = dict(zip(free, words, strict=True))
    results = heap.tables.evaluate(words, heap.bits())
    for at in range(64):
        expected = heap.add
        for digit in heap.sources:
            bits = [valued[literal >> 1] >> at & 1 ^ literal & 1 for literal in digit.literals if literal > TRUE]
            expected += sum(bits) if len(bits) < 2 else bits[1] + (bits[0] ^ bits[1])
        got = sum((word >> at & 1) << column for column, word in enumerate(results))
        assert got == expected % (1 << heap.width)


def sources(tables, count):
    return [(tables.source(),) for _ in range(count)]


def test_check_sees_a_lost_digit():
    tables = Tables()
    heap = Heap(tables, sources(tables, 7), width=3)
    heap.cells.pop(0)
    with pytest.raises(AssertionError):
        heap.check()


def test_check_sees_a_digit_taken_twice():
    tables = Tables()
    heap = Heap(tables, sources(tables, 7), width=3)
    heap.cells.append(heap.cells[0])
    with pytest.raises(AssertionError, match="taken twice"):
        heap.check()


def test_check_sees_a_carry_in_the_wrong_column():
    tables = Tables()
    heap = Heap(tables, sources(tables, 3), width=2)
    cell, = heap.cells
    heap.cells[0] = Cell(FULL_ADDER, cell.inputs, (cell.outputs[0], Digit(0, cell.outputs[1].literals)))
    with pytest.raises(AssertionError):
        heap.check()


def test_check_sees_a_digit_left_over():
    tables = Tables()
    heap = Heap(tables, sources(tables, 3), width=2)
    heap.result[1] = None
    with pytest.raises(AssertionError, match="left over"):
        heap.check()


@pytest.mark.parametrize("lanes", [5, 15, 31, 63])
def test_broken_compressor_breaks_the_sum(lanes, monkeypatch):
    """What the composition rests on: with one wrong table the list still telescopes, but the sum is wrong."""
    monkeypatch.setattr(heap_module, "MDFA", broken(MDFA, 1))
    tables = Tables()
    digits = [(tables.source(),)] + [(tables.source(), tables.source()) for _ in range(lanes // 2)]
    heap = Heap(tables, digits, width=lanes.bit_length(), cells="coded")
    words = [-1] * lanes # every bit is 1: a pair counts 1
    assert [word & 1 for word in tables.evaluate(words, heap.bits())] != \
        [(1 + lanes // 2) >> k & 1 for k in range(heap.width)]


def test_unknown_cells():
    with pytest.raises(ValueError, match=r"^cells must be one of \['plain', 'coded', 'lut6'\], not 'lut5'$"):
        Heap(Tables(), [], width=1, cells="lut5")


# ---- tables ----


def test_tables_fold_and_share():
    tables = Tables()
    x, y, z = (tables.source() for _ in range(3))
    parity = tables.table(lambda *bits: sum(bits) & 1, x, y, z)
    assert tables.table(lambda *bits: sum(bits) & 1, z ^ 1, x, y) == parity ^ 1
    assert tables.table(lambda *bits: sum(bits) & 1, z, x, TRUE, y, x) == tables.table(lambda a, b: a ^ b, y ^ 1, z)
    assert tables.table(lambda a, b: a & b, x, x ^ 1) == FALSE
    assert tables.table(lambda a, b: a | b, x, TRUE) == TRUE
    assert tables.table(lambda a, b: a & b, x ^ 1, TRUE) == x ^ 1
    assert tables.table(lambda a, b, c: b if a else c, y, x, x) == x
    assert len(tables) == 2
    assert tables.level(parity, x) == 1


@given(st.integers(0, 2**16 - 1), st.integers(0, 31))
@settings(deadline=None, max_examples=60)
def test_tables_are_emitted_as_they_are(bits, flips):
    """Any function of four inputs, inverted or not, in the Amaranth simulator."""
    from amaranth.sim import Simulator

    tables = Tables()
    literals = [tables.source() ^ (flips >> k & 1) for k in range(4)]
    out = tables.table(lambda *args: bits >> sum(bit << k for k, bit in enumerate(args)) & 1, *literals) ^ (flips >> 4)
    m = Module()
    x, o = Signal(4), Signal()
    m.d.comb += o.eq(tables.emit(m, list(x), [out], name="f")[0])

    async def bench(ctx):
        for k in range(16):
            ctx.set(x, k)
            assert ctx.get(o) == (bits >> (k ^ (flips & 15)) & 1) ^ (flips >> 4)

    sim = Simulator(m)
    sim.add_testbench(bench)
    sim.run()
