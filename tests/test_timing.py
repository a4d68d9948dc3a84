# amaranth: UnusedElaboratable=no
"""Every component keeps its timing model to the cycle, whatever its neighbours do."""
import random

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import schedule
from bnnhw.gateware.add import AddUnit
from bnnhw.gateware.affine import AffineUnit
from bnnhw.gateware.argmax import ClassOfWord, ClassResult, ScoresResult
from bnnhw.gateware.conv import FoldedConv
from bnnhw.gateware.dense import FoldedDense
from bnnhw.gateware.fork import Fork
from bnnhw.gateware.mvtu import Codes, Signs
from bnnhw.gateware.padding import Grouping
from bnnhw.gateware.pool import MaxPool
from bnnhw.gateware.streams import RegisterSlice, StreamFifo
from bnnhw.gateware.threshold import ThresholdUnit
from bnnhw.gateware.tournament import rounds_of
from bnnhw.gateware.width import DownConverter, UpConverter
from bnnhw.plan import Element
from bnnhw.stages import timing
from bnnhw.stages.unit_timing import Add, buffered, padded
from bnnhw.stages.unit_timing import Fork as ForkModel
from bnnhw.stages.window_timing import Window


def folded(words, folds, depth, registers=0, slices=False):
    """A dense layer of one neuron at a time over 8 lanes."""
    dut = FoldedDense(np.ones((folds, words * 8), int), Signs([[3] * folds]), reach=[8 * words] * folds, pe=1, simd=8,
                      memory="lut", depth=depth, registers=registers, slices=slices)
    unit = timing.Unit(words, registers)
    return dut, unit if folds == 1 else buffered(timing.Ring(words, folds, depth), unit, slices)


def padded_dense(n_out, n_in, pe, simd, depth=1, slices=False):
    """A dense layer with short last words; ``depth`` in vectors."""
    rows, columns = Grouping(n_out, pe), Grouping(n_in, simd)
    dut = FoldedDense(np.ones((n_out, n_in), int), Signs([[3] * n_out]), reach=[n_in] * n_out, pe=pe, simd=simd, memory="lut",
                      depth=depth * columns.words, slices=slices)
    unit = timing.Unit(columns.words)
    if rows.words > 1:
        unit = buffered(timing.Ring(columns.words, rows.words, depth * columns.words), unit, slices)
    return dut, padded(unit, rows, columns)


def conv(n, k, registers=0, slices=False):
    """A convolution in a window buffer that holds now and then too little, so that it waits."""
    facts = dict(image=(3, n + 1), stride=(1, 2), padding=(1, 0, 1, 1), depth=2 * (n + 3))
    dut = FoldedConv(np.ones((2 * k, 2, 2, 8), int), Codes([[0] * 2 * k], 1, 7), reach=[96] * 2 * k, fill=0, pe=k, simd=4,
                     memory="lut", bits=2, registers=registers, slices=slices, **facts)
    return dut, buffered(Window(groups=2, kernel=(2, 2), repeats=2, **facts), timing.Unit(8, registers), slices)


def pool(n, k, slices=False):
    facts = dict(image=(4, n + 1), kernel=(2, 2), stride=(2, 1), depth=k * (n + 4))
    dut = MaxPool(bits=2, lanes=1, minimum=[True] * k, slices=slices, **facts)
    return dut, buffered(Window(groups=k, padding=(0, 0, 0, 0), **facts), timing.Gathering(4), slices)


PAIRS = {
    "slice": lambda n, k: (RegisterSlice(3), timing.Slice()),
    "fifo": lambda n, k: (StreamFifo(3, n), timing.Fifo(n)),
    "up": lambda n, k: (UpConverter(2, k, n + 1), timing.Up(n + 1)),
    "down": lambda n, k: (DownConverter(2, k, n + 1), timing.Down(n + 1)),
    "threshold": lambda n, k: (ThresholdUnit(bits=3, levels=[[c] for c in range(k)], falling=[False] * k, lanes=n),
                               timing.Pipeline(0)),
    "levels": lambda n, k: (ThresholdUnit(bits=3, levels=[[c, 5] for c in range(k)], falling=[False] * k, lanes=n),
                            timing.Pipeline(1)),
    "affine": lambda n, k: (AffineUnit(bits=3, scale=list(range(n)), offset=[1] * n, width=6, lanes=k), timing.Elastic()),
    "conv": conv,
    "conv, registers": lambda n, k: conv(n, k, registers=1),
    "conv, slices": lambda n, k: conv(n, k, slices=True),
    "pool": pool,
    "pool, slices": lambda n, k: pool(n, k, slices=True),
    "class": lambda n, k: (ClassResult(score=3, classes=n, width=8), timing.Deciding(n)),
    "class of a word": lambda n, k: (ClassOfWord(score=3, classes=n + k, width=8), timing.Pipeline(rounds_of(n + k))),
    "scores": lambda n, k: (ScoresResult(score=3, classes=n, width=8, lo=0, step=1), timing.Closing(n)),
    "folded": lambda n, k: folded(n, k, 2 * n),
    "folded, live": lambda n, k: folded(n, k, n),
    "folded, registers": lambda n, k: folded(n, k, n, registers=1 + k % 2),
    "padded": lambda n, k: padded_dense(n + k + 1, 2 * n + 5, k + 1, n + 2, 2),
    "padded, neurons": lambda n, k: padded_dense(4 * n + k, 4, 4, 2, 2),
    "padded, inputs": lambda n, k: padded_dense(k, 4 * n + k, 1, 4),
    "padded, slices": lambda n, k: padded_dense(7, 5 + n, 3, 4, slices=True),
    "folded, slices": lambda n, k: folded(n, k, n, registers=2, slices=True),
}


@pytest.mark.parametrize("kind", PAIRS)
@settings(max_examples=12, deadline=None)
@given(n=st.integers(1, 5), k=st.integers(1, 4), p_valid=st.floats(0.1, 1), p_ready=st.floats(0.1, 1), seed=st.integers(0, 9))
def test_model(kind, n, k, p_valid, p_ready, seed):
    dut, model = PAIRS[kind](n, k)

    async def compare(ctx):
        rng, offered = random.Random(seed), False
        for _ in range(3):              # the weight memory's first word after reset
            model.step(False, False)
            await ctx.tick()
        for cycle in range(150):
            offered = offered or rng.random() < p_valid
            taking = rng.random() < p_ready
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.o.ready, taking)
            assert (ctx.get(dut.i.ready), ctx.get(dut.o.valid)) == (model.ready, model.valid), f"cycle {cycle}"
            push, pop = offered and model.ready, model.valid and taking
            if push or pop or not model.idle:
                model.step(push, pop)
            offered = offered and not push
            await ctx.tick()

    simulate(dut, compare)


def simulate(dut, testbench):
    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(testbench)
    sim.run()


@settings(max_examples=12, deadline=None)
@given(depths=st.lists(st.integers(0, 3), min_size=2, max_size=3), p_valid=st.floats(0.1, 1), p_ready=st.floats(0.1, 1),
       seed=st.integers(0, 9))
def test_fork(depths, p_valid, p_ready, seed):
    dut, model, words = Fork(8, depths), ForkModel(depths), [[] for _ in depths]
    outs = [getattr(dut, f"o{k}") for k in range(len(depths))]

    async def compare(ctx):
        rng, offered, sent = random.Random(seed), False, 0
        for cycle in range(200):
            offered = offered or rng.random() < p_valid
            taking = [rng.random() < p_ready for _ in outs]
            ctx.set(dut.i.valid, offered)
            ctx.set(dut.i.payload, sent % 256)
            for out, ready in zip(outs, taking, strict=True):
                ctx.set(out.ready, ready)
            assert ctx.get(dut.i.ready) == model.ready, f"cycle {cycle}"
            assert [ctx.get(out.valid) for out in outs] == [branch.valid for branch in model.branches], f"cycle {cycle}"
            push, pops = offered and model.ready, [a and branch.valid for a, branch in zip(taking, model.branches, strict=True)]
            for out, pop, own in zip(outs, pops, words, strict=True):
                own += [ctx.get(out.payload)] if pop else []
            model.step(push, pops)
            offered, sent = offered and not push, sent + push
            await ctx.tick()

    simulate(dut, compare)
    for own in words:
        assert own == [k % 256 for k in range(len(own))] and own


@settings(max_examples=12, deadline=None)
@given(lanes=st.integers(1, 3), scales=st.tuples(st.integers(1, 3), st.integers(1, 3)), p_valid=st.floats(0.1, 1),
       p_ready=st.floats(0.1, 1), seed=st.integers(0, 9))
def test_add(lanes, scales, p_valid, p_ready, seed):
    dut, model = AddUnit(bits=(3, 2), scales=scales, width=6, lanes=lanes), Add()
    values = [np.random.default_rng(seed).integers(0, top, (200, lanes)).tolist() for top in (8, 4)]
    found = []

    async def compare(ctx):
        rng, offered, sent = random.Random(seed), [False, False], [0, 0]
        for cycle in range(150):
            taking = rng.random() < p_ready
            for k, port in enumerate((dut.i0, dut.i1)):
                offered[k] = offered[k] or rng.random() < p_valid
                ctx.set(port.valid, offered[k])
                ctx.set(port.payload, values[k][sent[k]])
                assert ctx.get(port.ready) == model.inputs[k].ready, f"cycle {cycle}"
            ctx.set(dut.o.ready, taking)
            assert ctx.get(dut.o.valid) == model.valid, f"cycle {cycle}"
            pushes, pop = [a and side.ready for a, side in zip(offered, model.inputs, strict=True)], taking and model.valid
            found.extend([list(ctx.get(dut.o.payload))] if pop else [])
            model.step(pushes, pop)
            for k, push in enumerate(pushes):
                offered[k], sent[k] = offered[k] and not push, sent[k] + push
            await ctx.tick()

    simulate(dut, compare)
    sums = scales[0] * np.array(values[0]) + scales[1] * np.array(values[1])
    assert found == sums[:len(found)].tolist() and found


def test_stuck_chain():
    class Never(timing.Slice):
        def __init__(self):
            super().__init__()
            self.ready = False
    elements = [Element("a", (None,), ("a",), None, timing.Slice, 1, 1), Element("b", ("a",), ("b",), None, Never, 1, 1)]
    with pytest.raises(schedule.Stuck, match="nothing moves in cycle 2; 0 words were given") as stuck:
        schedule.run(elements, 1, 1, 1)
    assert stuck.value.streams == {"a": (True, False), "b": (False, True)}


def test_schedule_of_bursts():
    """A FIFO of 8 words beside a pipeline of 30: words come in bursts, and the interval is their average, pauses counted in."""
    elements = [Element("fork", (None,), ("a", "b"), None, lambda: ForkModel([0, 8]), 1, 1),
                Element("long", ("a",), ("c",), None, lambda: timing.Pipeline(30), 1, 1),
                Element("sum", ("c", "b"), ("d",), None, Add, 1, 1)]
    found = schedule.schedule(elements, 1, 1)
    given = schedule.run(elements, 1, 1, 400).given
    assert np.diff(given[:25]).tolist() == [1] * 11 + [25] + [1] * 11 + [25]
    assert found == schedule.Schedule(interval=3, latency=given[0], frames=12, steady=False)
    assert schedule.period(elements, 1, 1) == 3
