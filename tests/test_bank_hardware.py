# amaranth: UnusedElaboratable=no
"""Banks in hardware: tables, thresholds, the queue of task numbers, the accelerator; the task changes from frame to frame."""
import math
import random

import numpy as np
import pytest
from amaranth.back import verilog
from amaranth.hdl import Value
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import accelerator, folding, reference, simulate, testbench, verify
from bnnhw.gateware.affine import BankAffineUnit
from bnnhw.gateware.dense import FoldedDense, starts_style
from bnnhw.gateware.frames import TaskQueue
from bnnhw.gateware.mvtu import Signs
from bnnhw.ir import ArgMax, BankAffine, BankThreshold, Conv2d, Dense, Flatten, Input, MaxPool2d, Network, TensorType
from bnnhw.lower import LoweringError, lower
from bnnhw.matching import matching
from bnnhw.simulator import Simulator as Chip
from bnnhw.simulator import encode
from bnnhw.stages import FoldingError, timing
from bnnhw.stages.unit_timing import buffered

from . import streams, test_testbench
from .networks import bank_network, dense_network, images

CHANCE = st.sampled_from((1.0, 0.7, 0.3))


def drive(dut, words, tasks, count, chances, model=None, seed=0):
    """Feed ``dut.i`` with words and ``dut.task`` with numbers, each with its chance per cycle; give ``count`` words of ``dut.o``.

    With a ``model`` there is always a task, and valid and ready must be the model's in every cycle.
    """
    taken, given, numbers = [], list(words), list(tasks)

    async def both(ctx):
        rng, offered, held = random.Random(seed), [False, False], None
        for _ in range(3 if model else 0):      # the memories' first words after reset
            model.step(False, False)
            await ctx.tick()
        for cycle in range(20_000):
            offered[0] = bool(given) and (offered[0] or rng.random() < chances[0])
            offered[1] = model is not None or bool(numbers) and (offered[1] or rng.random() < chances[1])
            ready = rng.random() < chances[2]
            ctx.set(dut.i.valid, offered[0])
            ctx.set(dut.task.valid, offered[1])
            ctx.set(dut.o.ready, ready)
            if offered[0]:
                ctx.set(Value.cast(dut.i.payload), given[0])
            if offered[1]:
                ctx.set(dut.task.payload, numbers[0] if numbers else 0)
            went = [offered[0] and ctx.get(dut.i.ready), offered[1] and ctx.get(dut.task.ready)]
            valid, payload = ctx.get(dut.o.valid), ctx.get(Value.cast(dut.o.payload))
            if model:
                assert (ctx.get(dut.i.ready), valid) == (model.ready, model.valid), f"cycle {cycle}"
                model.step(bool(went[0]), bool(valid and ready))
            assert held in (None, payload), f"cycle {cycle}: {held} became {payload} untaken"
            held = payload if valid and not ready else None
            if valid and ready:
                taken.append(payload)
            for queue, moved in zip((given, numbers), went, strict=True):
                if moved and queue:
                    queue.pop(0)
            offered[:] = [a and not b for a, b in zip(offered, went, strict=True)]
            if len(taken) == count:
                assert not given and not numbers
                return
            await ctx.tick()
        raise AssertionError(f"{len(taken)} of {count} words")

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(both)
    simulator.run()
    return taken


def words_of(values, lanes, bits):
    """Rows of unsigned values as words."""
    return [sum(int(v) << bits * k for k, v in enumerate(own)) for own in np.asarray(values).reshape(-1, lanes)]


@settings(max_examples=15, deadline=None)
@given(words=st.integers(1, 3), folds=st.integers(1, 4), pe=st.integers(1, 2), simd=st.integers(1, 5), tasks=st.integers(2, 5),
       masked=st.booleans(), memory=st.sampled_from(("lut", "bram")), model=st.booleans(),
       chances=st.tuples(CHANCE, CHANCE, CHANCE), slices=st.booleans(), seed=st.integers(0, 99))
def test_dense(words, folds, pe, simd, tasks, masked, memory, model, chances, slices, seed):
    rng = np.random.default_rng(seed)
    n_in, n_out, count = words * simd, folds * pe, 7
    weights = rng.choice([-1, 0, 1] if masked else [-1, 1], (n_out, n_in))
    levels, opposite = rng.integers(-1, n_in + 3, (tasks, n_out)), rng.random((tasks, n_out)) < 0.4
    x, task = rng.integers(0, 2, (count, n_in)), rng.integers(0, tasks, count)
    task[:3] = 0, tasks - 1, 0
    dut = FoldedDense(weights, Signs(np.clip(levels, 0, n_in + 1).tolist(), opposite.tolist()), reach=[n_in] * n_out, pe=pe,
                      simd=simd, memory=memory, depth=words, slices=slices)
    matches = ((x[:, None, :] == (weights > 0)) & (weights != 0)).sum(axis=2)
    want = (matches >= levels[task]) ^ opposite[task]
    unit = timing.Unit(words)
    checked = (unit if folds == 1 else buffered(timing.Ring(words, folds, words), unit, slices)) if model else None
    got = drive(dut, words_of(x, simd, 1), task.tolist(), count * folds, chances, checked, seed)
    assert got == words_of(want, pe, 1)


@settings(max_examples=15, deadline=None)
@given(n_out=st.integers(1, 7), n_in=st.integers(1, 9), pe=st.integers(1, 7), simd=st.integers(1, 9), tasks=st.integers(2, 4),
       chances=st.tuples(CHANCE, CHANCE, CHANCE), seed=st.integers(0, 99))
def test_padded_dense(n_out, n_in, pe, simd, tasks, chances, seed):
    """PE and SIMD that do not divide: what is made up belongs to no bank."""
    rng, pe, simd, count = np.random.default_rng(seed), min(pe, n_out), min(simd, n_in), 6
    weights = rng.choice([-1, 1], (n_out, n_in))
    levels, opposite = rng.integers(0, n_in + 2, (tasks, n_out)), rng.random((tasks, n_out)) < 0.5
    x, task = rng.integers(0, 2, (count, n_in)), rng.integers(0, tasks, count)
    dut = FoldedDense(weights, Signs(levels.tolist(), opposite.tolist()), reach=[n_in] * n_out, pe=pe, simd=simd, memory="lut",
                      depth=-(-n_in // simd))
    want = ((x[:, None, :] == (weights > 0)).sum(axis=2) >= levels[task]) ^ opposite[task]
    narrow = math.gcd(pe, n_out)
    got = drive(dut, words_of(x, math.gcd(simd, n_in), 1), task.tolist(), count * n_out // narrow, chances, seed=seed)
    assert got == words_of(want, narrow, 1)


def test_large_banks_are_in_block_ram():
    rng = np.random.default_rng(0)
    large, small = ([rng.integers(0, n, n).tolist() for _ in range(3)] for n in (256, 8))
    assert starts_style(Signs(large), 2, "bram") == "bram" and starts_style(Signs(small), 2, "bram") == "lut"
    assert starts_style(Signs(large), 2, "lut") == starts_style(Signs(large[:1]), 2, "bram") == "lut"
    weights = rng.choice([-1, 1], (256, 2))
    levels = rng.integers(0, 4, (3, 256))
    levels[0, 0] = 255       # never: beyond what an accumulator of this width holds
    x, task = rng.integers(0, 2, (5, 2)), np.array([2, 0, 1, 1, 0])
    dut = FoldedDense(weights, Signs(levels.tolist()), reach=[2] * 256, pe=4, simd=1, memory="bram", depth=4)
    assert dut.unit.updatable
    got = drive(dut, words_of(x, 1, 1), task.tolist(), 5 * 64, (1.0, 1.0, 1.0))
    want = (x[:, None, :] == (weights > 0)).sum(axis=2) >= levels[task]
    assert got == words_of(want, 4, 1)


@settings(max_examples=15, deadline=None)
@given(turns=st.integers(1, 5), lanes=st.integers(1, 3), tasks=st.integers(2, 6), model=st.booleans(),
       chances=st.tuples(CHANCE, CHANCE, CHANCE), seed=st.integers(0, 99))
def test_affine(turns, lanes, tasks, model, chances, seed):
    rng, channels, count = np.random.default_rng(seed), turns * lanes, 9
    scale, x = rng.integers(-20, 21, (tasks, channels)), rng.integers(0, 16, (count, channels))
    offset = np.maximum(0, -15 * scale) + rng.integers(0, 9, (tasks, channels))
    task = rng.integers(0, tasks, count)
    dut = BankAffineUnit(bits=4, scale=scale.tolist(), offset=offset.tolist(), width=10, lanes=lanes)
    got = drive(dut, words_of(x, lanes, 4), task.tolist(), count * turns, chances, timing.Elastic(2) if model else None, seed)
    want = scale[task] * x + offset[task]
    assert got == words_of(want, lanes, 10)


def test_affine_of_nothing_but_zeros():
    """Its table has words, too."""
    dut = BankAffineUnit(bits=3, scale=[[0, 0]] * 2, offset=[[0, 0]] * 2, width=2, lanes=1)
    verilog.convert(dut)
    assert drive(dut, [5, 3, 7, 1], [0, 1], 4, (1.0, 1.0, 1.0)) == [0, 0, 0, 0]


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("p_valid, p_ready", streams.STALLS)
def test_queue(depth, p_valid, p_ready):
    numbers = np.random.default_rng(depth).integers(0, 6, 40).tolist()
    got, cycles = streams.run(TaskQueue(6, depth), numbers, count=40, p_valid=p_valid, p_ready=p_ready)
    assert got == numbers
    if p_valid == p_ready == 1.0 and depth > 1:
        assert cycles == 40 + 1


@pytest.mark.parametrize("make, message", [
    (lambda: TaskQueue(3, 0), "depth must be a positive integer, not 0"),
    (lambda: BankAffineUnit(bits=1, scale=[[1]], offset=[[1]], width=2, lanes=1),
     "scale and offset must be of the same tasks, two or more, and of as many channels for each"),
    (lambda: BankAffineUnit(bits=1, scale=[[1, 2]] * 2, offset=[[1]] * 2, width=2, lanes=1),
     "scale and offset must be of the same tasks, two or more, and of as many channels for each"),
    (lambda: BankAffineUnit(bits=1, scale=[[1, 2, 3]] * 2, offset=[[1, 2, 3]] * 2, width=2, lanes=2),
     "lanes must divide the 3 channels, not be 2"),
])
def test_wrong_parameters(make, message):
    with pytest.raises((TypeError, ValueError)) as caught:
        make()
    assert str(caught.value) == message


@settings(max_examples=20, deadline=None)
@given(n_in=st.integers(1, 9), step=st.integers(1, 3), seed=st.integers(0, 999))
def test_thresholds_on_match_counts(n_in, step, seed):
    """Also of neurons with zeros, whose sums are not all on the grid of the layer's type."""
    rng = np.random.default_rng(seed)
    weights = rng.choice([-1, 0, 1], (5, n_in))
    levels, falling = rng.integers(-n_in * step - 2, n_in * step + 3, (3, 5)), rng.random((3, 5)) < 0.5
    network = Network([Input("x", TensorType((n_in,), -step, step, 2 * step)), Input("t", TensorType((), 0, 2)),
                       Dense("d", "x", weights), BankThreshold("s", "d", "t", levels[:, :, None], falling)], "s")
    bank = network.operations["s"]
    found = matching(network.operations["d"], network.types["x"])
    result = found.signs(bank.levels[:, :, 0], bank.falling)
    bits, task = rng.integers(0, 2, (40, n_in)), rng.integers(0, 3, 40)
    counts = ((bits[:, None, :] == (weights > 0)) & (weights != 0)).sum(axis=2)
    got = (counts >= np.array(result.thresholds)[task]) ^ np.array(result.opposite)[task]
    want = reference.run(network, (2 * bits - 1) * step, task=task)["s"]
    np.testing.assert_array_equal(2 * got.astype(int) - 1, want)


def planned(network, scores=True, fps=200_000):
    return folding.fold(network, lower(network, scores=scores), clock_hz=12_000_000, fps=fps)


NETWORKS = [dict(widths=[9, 6, 5], tasks=3, falling=0.5), dict(widths=[64, 10], tasks=6, first="levels", zeros=0.1),
            dict(widths=[7, 4], tasks=2, first="pixels", affine=False), dict(widths=[3], tasks=5, shape=(1, 1, 1))]


@pytest.mark.parametrize("facts", NETWORKS[:1] + [pytest.param(own, marks=pytest.mark.slow) for own in NETWORKS[1:]])
def test_whole(facts):
    """Every value between the stages, every score, interval and latency; stalls; tasks that there are not."""
    network = bank_network(**facts, seed=5, scores=True)
    plan = planned(network)
    text = accelerator.verilog(plan)
    assert "s_axis_tuser;" in text and plan.tasks == network.tasks
    facts = verify.in_verilog(plan, text, 120)
    assert facts["mismatches"] == 0 and [own["images"] for own in facts["tasks"]] == [120 // network.tasks] * network.tasks
    x, task = images(network, 150), np.random.default_rng(1).integers(0, network.tasks, 150)
    for p_valid, p_ready in ((0.5, 1.0), (1.0, 0.4), (0.6, 0.6)):
        assert simulate.check(plan, text, x, task=task, p_valid=p_valid, p_ready=p_ready, seed=3).mismatches == []
    wrong = simulate.check(plan, text, x, task=(task + 1) % network.tasks).result
    assert compare_with(network, x, task, wrong) > 0       # the check sees a wrong task

    chip, most = Chip.of_plan(plan, text), 1 << (network.tasks - 1).bit_length()
    odd = np.random.default_rng(2).integers(0, most, 150)
    for chances in ({}, {"p_valid": 0.7, "p_ready": 0.5}):
        result = chip.run(encode(network, x), task=odd, **chances)
        known = np.where(odd < network.tasks, odd, 0)
        np.testing.assert_array_equal(result.beats[:, -1], reference.run(network, x, task=known)["class"])
        np.testing.assert_array_equal(result.errors, odd >= network.tasks)
    with pytest.raises(ValueError, match=f"the accelerator knows {network.tasks} tasks, and each frame must have its own"):
        chip.run(encode(network, x))


def test_more_tasks_than_a_byte_holds():
    network = bank_network([3], 300, shape=(1, 1, 1), seed=3)
    plan, task = planned(network), np.array([0, 1, 255, 256, 257, 299])
    found = simulate.check(plan, accelerator.verilog(plan), images(network, len(task)), task=task)
    assert not found.mismatches


def compare_with(network, x, task, result):
    return len(simulate.compare(network, x, result, task))


@pytest.mark.slow
def test_plain_testbench(tmp_path):
    plan = planned(bank_network([6, 5], 3, seed=8))
    (tmp_path / "tiny.v").write_text(accelerator.verilog(plan))
    texts = testbench.files(plan, "tiny", frames=6)
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    command, other = test_testbench.compiled(tmp_path), tmp_path / "other"
    other.mkdir()
    status, verdict = test_testbench.play(command, tmp_path, other)
    assert status == 0 and verdict.startswith("PASS: 8 results"), verdict
    # Another task for every frame: tuser is above tlast and tdata.
    bit = 8 * plan.input_lanes * plan.element_bytes + 1
    words = [int(word, 16) for word in texts["tiny_tb_input.hex"].split()]
    (tmp_path / "tiny_tb_input.hex").write_text("".join(f"{word ^ 1 << bit:x}\n" for word in words))
    status, verdict = test_testbench.play(command, tmp_path, other)
    assert status != 0 and verdict.startswith("FAIL: result "), verdict


def test_a_network_without_banks_has_no_port():
    text = accelerator.verilog(planned(dense_network([4, 3])))
    assert "s_axis_tuser" not in text and "_task" not in text


def network_of(operations, output):
    return Network([Input("x", TensorType((4, 4, 1), -1, 1, 2)), Input("t", TensorType((), 0, 1)), *operations], output)


LEVELS = {"levels": np.zeros((2, 1, 1), int), "falling": np.zeros((2, 1), bool)}


@pytest.mark.parametrize("operations, message", [
    ([BankThreshold("s", "x", "t", **LEVELS), Flatten("f", "s"), ArgMax("c", "f")],
     "operation 's': there is hardware for banks of thresholds of one level only, that alone take a Dense"),
    ([Conv2d("d", "x", np.ones((1, 2, 2, 1), int)), BankThreshold("s", "d", "t", **LEVELS), Flatten("f", "s"), ArgMax("c", "f")],
     "operation 's': there is hardware for banks of thresholds of one level only, that alone take a Dense"),
    ([Flatten("f", "x"), Dense("d", "f", np.ones((1, 16), int)),
      BankThreshold("s", "d", "t", np.zeros((2, 1, 3), int), np.zeros((2, 1), bool)), ArgMax("c", "s")],
     "operation 's': there is hardware for banks of thresholds of one level only, that alone take a Dense"),
    ([MaxPool2d("p", "x", (2, 2), (2, 2)), BankAffine("s", "p", "t", [[1], [2]], [[0], [1]]), Flatten("f", "s"),
      ArgMax("c", "f")],
     "operation 's': there is hardware for banks of scales and offsets of a vector, not of shape (2, 2, 1)"),
])
def test_what_there_is_no_hardware_for(operations, message):
    with pytest.raises(LoweringError) as caught:
        lower(network_of(operations, "c"))
    assert str(caught.value) == message


def test_foldings_of_a_layer_with_banks():
    stage = next(stage for stage in lower(bank_network([64, 3], 3)) if stage.name == "fc1")
    assert stage.tasks == 3 and not stage.unfoldable and all(o.style == "folded" for o in stage.folding_space())
    with pytest.raises(FoldingError, match="^layer 'fc1': style must be 'folded': only a layer without banks can be unfolded$"):
        stage.parse({"kind": "dense", "style": "unfolded", "fabric": "ice40"})
