"""Networks of random topology and folding through Verilator: every integer and cycle against golden model and plan."""
import numpy as np
import pytest

from bnnhw import accelerator, reference, schedule, verify
from bnnhw.buffers import with_buffers
from bnnhw.compare import compare
from bnnhw.lower import lower
from bnnhw.plan import Plan
from bnnhw.simulator import Simulator, encode
from bnnhw.stages import BufferOptions

from .topologies import coverage, features, inputs, random_network

WANTED = {"branch", "padding", "stride", "pool", "k-bit threshold", "falling channel"}
MOST_UNFOLDED = 60          # weights of a dense layer that may be unfolded: larger ones take long to compile
MOST_CYCLES = 4000
MORE_REGISTERS = 0.6        # how often a stage has registers in one more place


def candidates():
    """Seeds whose networks have something that is hard."""
    seed = 0
    while True:
        if features(random_network(seed)) & WANTED:
            yield seed
        seed += 1


def random_plan(network, seed):
    """A plan whose stages have any of their options, and registers anywhere."""
    rng, registers = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    stages, options = lower(network, scores=bool(rng.integers(2))), {}
    for stage in stages:
        space = [own for own in stage.folding_space() if getattr(own, "style", "folded") == "folded"
                 or stage.weights.size <= MOST_UNFOLDED]
        quick = [own for own in space if stage.cycles(own) <= MOST_CYCLES] or space
        own = quick[rng.integers(len(quick))]
        while isinstance(own, BufferOptions) and registers.random() < MORE_REGISTERS and (others := list(stage.faster(own))):
            own = others[registers.integers(len(others))]
        options[stage.name] = own
    return with_buffers(Plan(network, stages, options, 1_000_000), ["rate", "live"][rng.integers(2)])


def run(seed):
    """Everything about one network; its features."""
    network = random_network(seed)
    plan = random_plan(network, seed)
    simulator = Simulator.of_plan(plan, accelerator.verilog(plan), taps=accelerator.taps(plan), optimize="-O0")
    x = inputs(network, 2 * plan.schedule.frames + 4, seed)
    result = simulator.run(encode(network, x), taps=True)
    assert compare(network, x, result) == [], seed
    verify.check_timing(plan, result)
    few = x[:6]
    rng = np.random.default_rng(seed)
    p_valid, p_ready = rng.choice([0.1, 0.5, 0.9, 1.0], 2)
    stalled = simulator.run(encode(network, few), p_valid=p_valid, p_ready=p_ready, seed=seed, taps=True)
    assert compare(network, few, stalled) == [], (seed, p_valid, p_ready)
    return features(network) | {plan.buffers} | ({"deep branch"} if any(plan.fifos.values()) else set())


def test_generator_covers_everything():
    counts = coverage(random_network(seed) for seed in range(200))
    assert all(counts[feature] >= 10 for feature in WANTED | {"depthwise", "ternary", "zero padding of signs"}), counts


@pytest.mark.parametrize("number", range(8))
def test_sample(number):
    seeds = candidates()
    run([next(seeds) for _ in range(number + 1)][-1])


@pytest.mark.slow
def test_five_hundred(capsys):
    seeds, counts = candidates(), {}
    for done in range(500):
        for feature in run(next(seeds)):
            counts[feature] = counts.get(feature, 0) + 1
        if done % 50 == 49:
            with capsys.disabled():
                print(f"\n{done + 1} networks: {dict(sorted(counts.items()))}", flush=True)
    assert all(counts[feature] >= 25 for feature in WANTED)


def test_schedule_is_that_of_runs_with_an_end():
    """Latency is that of a frame alone, the interval that of the last of many: the schedule takes both from one run."""
    waits = set()
    for seed in range(25):
        plan = random_plan(random_network(seed), seed)
        found, ends = plan.schedule, (plan.framed, plan.beats, plan.result_beats)
        alone = schedule.run(*ends, 1)
        assert found.latency == alone.given[-1] - alone.accepted[0] + 1, seed
        frames = 2 * found.frames + 4
        given = schedule.run(*ends, frames).given[plan.result_beats - 1::plan.result_beats]
        assert not found.steady or found.interval == given[-1] - given[-2], seed
        waits.add(found.frames > 5)
    assert waits == {False, True}       # few frames on their way, and many


def test_a_wrong_weight_is_seen():
    """One weight of a convolution negated in the hardware only: the edge behind it differs."""
    network = next(network for network in map(random_network, range(200)) if any(
        op.kind == "Conv2d" and op.weights.size > 8 for op in network.operations.values()))
    plan = random_plan(network, 0)
    stage = next(stage for stage in plan.stages if stage.kind == "conv" and stage.weights.size > 8)
    stage.weights = np.where(np.arange(stage.weights.size).reshape(stage.weights.shape) == 5, -stage.weights, stage.weights)
    simulator = Simulator.of_plan(plan, accelerator.verilog(plan), taps=accelerator.taps(plan), optimize="-O0")
    x = inputs(network, 40)
    found = compare(network, x, simulator.run(encode(network, x), taps=True))
    assert found and reference.run(network, x) is not None
    assert found[0].layer in {other.name for other in plan.stages}
