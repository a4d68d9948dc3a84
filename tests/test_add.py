# amaranth: UnusedElaboratable=no
"""Forks and sums: every word to every branch and pairs of words added, to the cycle of their models."""
import random

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.gateware.add import AddUnit
from bnnhw.gateware.fork import Fork
from bnnhw.stages import unit_timing


def drive(dut, model, words, chances_in, chances_out, seed, cycles):
    """Offer ``words[k]`` at input ``k`` and take at the outputs with the given chances, the model beside it.

    Returns what each output gave, and the cycle in which each word of it was taken.
    """
    inputs = [dut.i] if len(words) == 1 else [getattr(dut, f"i{k}") for k in range(len(words))]
    outputs = [dut.o] if len(chances_out) == 1 else [getattr(dut, f"o{k}") for k in range(len(chances_out))]
    into = [model] if len(inputs) == 1 else model.inputs
    out_of = [model] if len(outputs) == 1 else model.branches
    taken, times = [[] for _ in outputs], [[] for _ in outputs]

    def one(flags):
        return flags[0] if len(flags) == 1 else flags

    async def compare(ctx):
        rng, offered, sent = random.Random(seed), [False] * len(inputs), [0] * len(inputs)
        for cycle in range(cycles):
            taking = [rng.random() < chance for chance in chances_out]
            for k, port in enumerate(inputs):
                offered[k] = sent[k] < len(words[k]) and (offered[k] or rng.random() < chances_in[k])
                ctx.set(port.valid, offered[k])
                if offered[k]:
                    ctx.set(port.payload, words[k][sent[k]])
            for port, ready in zip(outputs, taking, strict=True):
                ctx.set(port.ready, ready)
            assert ([ctx.get(port.ready) for port in inputs], [ctx.get(port.valid) for port in outputs]) == (
                [port.ready for port in into], [port.valid for port in out_of]), f"cycle {cycle}"
            pushes = [offer and port.ready for offer, port in zip(offered, into, strict=True)]
            pops = [port.valid and ready for port, ready in zip(out_of, taking, strict=True)]
            for k, pop in enumerate(pops):
                if pop:
                    taken[k].append(ctx.get(outputs[k].payload))
                    times[k].append(cycle)
            model.step(one(pushes), one(pops))
            for k, push in enumerate(pushes):
                sent[k] += push
                offered[k] = offered[k] and not push
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(compare)
    sim.run()
    return taken, times


CHANCE = st.sampled_from([1.0, 0.6, 0.2])


@settings(max_examples=50, deadline=None)
@given(depths=st.lists(st.integers(0, 5), min_size=2, max_size=4), data=st.data(), p_valid=CHANCE, seed=st.integers(0, 99))
def test_fork(depths, data, p_valid, seed):
    chances = [data.draw(CHANCE) for _ in depths]
    words = np.random.default_rng(seed).integers(0, 1 << 9, 25).tolist()
    taken, _ = drive(Fork(9, depths), unit_timing.Fork(depths), [words], [p_valid], chances, seed, 500)
    assert taken == [words] * len(depths)


def test_fork_timing():
    words = list(range(12))
    _, times = drive(Fork(4, [0, 3]), unit_timing.Fork([0, 3]), [words], [1.0], [1.0, 1.0], 0, 20)
    assert times == [[k + 2 for k in words], [k + 3 for k in words]]


def test_a_branch_gets_what_its_neighbour_does_not_take():
    """Branches take in turn: a branch that nobody reads holds what its buffer does, and the other has one word more."""
    for depth, held in ((0, 2), (1, 2), (4, 5)):
        taken, _ = drive(Fork(4, [depth, 0]), unit_timing.Fork([depth, 0]), [list(range(12))], [1.0], [0.0, 1.0], 0, 40)
        assert taken == [[], list(range(held + 1))]


def test_fork_has_branches():
    with pytest.raises(ValueError, match="^a fork must have at least 2 branches, not 1$"):
        Fork(4, [0])


@settings(max_examples=50, deadline=None)
@given(bits=st.tuples(st.integers(1, 8), st.integers(1, 8)), scales=st.tuples(st.integers(1, 9), st.integers(1, 9)),
       lanes=st.integers(1, 3), chances=st.tuples(CHANCE, CHANCE), p_ready=CHANCE, seed=st.integers(0, 99))
def test_sum(bits, scales, lanes, chances, p_ready, seed):
    most = sum(scale * (2**size - 1) for scale, size in zip(scales, bits, strict=True))
    x, y = (np.random.default_rng([seed, k]).integers(0, 2**size, (20, lanes)) for k, size in enumerate(bits))
    x[:2], y[:2] = [[0], [2**bits[0] - 1]], [[0], [2**bits[1] - 1]]
    dut = AddUnit(bits=bits, scales=scales, width=most.bit_length(), lanes=lanes)
    (taken,), _ = drive(dut, unit_timing.Add(), [x.tolist(), y.tolist()], chances, [p_ready], seed, 500)
    assert [list(word) for word in taken] == (scales[0] * x + scales[1] * y).tolist()


def test_sum_timing():
    words = [[k] for k in range(8)]
    dut = AddUnit(bits=(3, 3), scales=(1, 1), width=4, lanes=1)
    (taken,), (times,) = drive(dut, unit_timing.Add(), [words, words], [1.0, 1.0], [1.0], 0, 12)
    assert [list(word) for word in taken] == [[2 * k] for k in range(8)]
    assert times == [k + 2 for k in range(8)]


@pytest.mark.parametrize("change, message", [
    (dict(bits=(0, 3)), r"bits must be positive integers, not \(0, 3\)"),
    (dict(scales=(1, -1)), r"scales must be positive integers, not \(1, -1\)"),
    (dict(lanes=0), r"lanes must be positive integers, not \(0,\)"),
])
def test_refusals(change, message):
    with pytest.raises(TypeError, match=f"^{message}$"):
        AddUnit(**dict(bits=(3, 3), scales=(1, 1), width=4, lanes=1) | change)
