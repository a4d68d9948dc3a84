# amaranth: UnusedElaboratable=no
"""Encoders with several levels: units against arithmetic and model in every cycle, whole networks in Verilog."""
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import accelerator, folding, simulate, verify
from bnnhw.gateware.thermometer import ThermometerUnit, changing, columns
from bnnhw.ir import Add, ArgMax, Conv2d, Dense, Flatten, GroupSum, Input, Lookup, Network, TensorType, Thermometer, Threshold
from bnnhw.lower import lower
from bnnhw.plan import Plan
from bnnhw.stages import FoldingError, ThermometerStage

from . import streams
from .beside import drive
from .topologies import INPUTS, inputs

STALLS = st.sampled_from([1.0, 0.6, 0.2])


def reached(x, levels):
    """Bits of each element of ``x`` (words, lanes) in stream order, (words, lanes * L)."""
    own = np.array(levels)[np.arange(x.size).reshape(x.shape) % len(levels)]
    return (x[..., None] >= own).astype(int).reshape(len(x), -1)


@settings(max_examples=80, deadline=None)
@given(data=st.data(), bits=st.integers(1, 9), channels=st.integers(1, 7), repeats=st.integers(1, 3), count=st.integers(1, 6),
       spread=st.sampled_from([1, 4, 512]), p_valid=STALLS, p_ready=STALLS)
def test_stage(data, bits, channels, repeats, count, spread, p_valid, p_ready):
    """Levels beyond both ends, equal ones, in any order; vectors follow each other in whatever turn."""
    elements = channels * repeats
    own = st.lists(st.integers(-1, spread).map(lambda t: min(t, 2**bits + 1)), min_size=count, max_size=count)
    levels = data.draw(st.lists(own, min_size=channels, max_size=channels))
    stage = ThermometerStage("bits", (), "bits", elements=elements, bits=bits, levels=levels)
    lanes = data.draw(st.sampled_from([d for d in range(1, elements + 1) if elements % d == 0]))
    options = stage.parse({"kind": "thermometer", "lanes": lanes})
    assert stage.lanes(options) == (lanes, lanes * count) and stage.cycles(options) == elements // lanes
    x = np.random.default_rng(channels).integers(0, 2**bits, (4 * elements // lanes, lanes))
    x[0], x[-1] = 0, 2**bits - 1
    x[1 % len(x)] = np.clip(levels[0][0], 0, 2**bits - 1)
    dut, model = stage.build(options), stage.timing(options)
    table = bool(changing(dut.columns))

    class Late:
        """The model, from the table's first word on: a cycle after reset."""
        started = not table
        valid, ready = property(lambda self: model.valid), property(lambda self: self.started and model.ready)
        idle = False

        def step(self, push, pop):
            model.step(push, pop)
            self.started = True

    got, times = drive(dut, Late(), x.tolist(), len(x), p_valid=p_valid, p_ready=p_ready, seed=count)
    assert [[element >> k & 1 for element in word for k in range(count)] for word in got] == reached(x, levels).tolist()
    if p_valid == p_ready == 1.0:
        assert times[-1] == len(x) + table


@pytest.mark.parametrize("channels, lanes, count", [(300, 1, 2), (65, 4, 5), (784, 7, 1)])
def test_levels_in_block_ram(channels, lanes, count):
    """Tables that are large enough for one, more than once through."""
    rng = np.random.default_rng(channels)
    levels = rng.integers(0, 4097, (channels, count)).tolist()
    x = rng.integers(0, 4096, (max(3, 2 * channels // lanes), lanes))
    dut = ThermometerUnit(bits=12, levels=levels, lanes=lanes)
    taken, _ = streams.run(dut, x.tolist(), count=len(x), p_valid=0.7, p_ready=0.7)
    assert [[element >> k & 1 for element in word for k in range(count)] for word in taken] == reached(x, levels).tolist()
    if channels % lanes == 0:
        stage = ThermometerStage("bits", (), "bits", elements=channels, bits=12, levels=levels)
        words = stage.resources(stage.parse({"kind": "thermometer", "lanes": lanes}))["bram_words"]
        assert words == [(len(changing(dut.columns)), channels // lanes)] and words[0][0] <= 13 * lanes * count


def test_what_does_not_change_is_no_memory():
    """Levels for all elements, or that repeat with the lanes, are constants; of the others only bits that differ are kept."""
    equal = ThermometerStage("bits", (), "bits", elements=12, bits=8, levels=[[3, 200]] * 12)
    assert equal.levels == [[3, 200]]
    colours = ThermometerStage("bits", (), "bits", elements=12, bits=8, levels=[[3], [7], [9]] * 4)
    assert colours.levels == [[3], [7], [9]]
    assert changing(columns(colours.levels, 6, 8)) == []
    assert changing(columns([[64, 0], [192, 5], [128, 1]], 1, 8)) == [(0, 6), (0, 7), (1, 0), (1, 2)]
    assert columns([[-3, 300], [1, 2]], 2, 8) == [[0], [256], [1], [2]]


@pytest.mark.parametrize("change, error, message", [
    (dict(levels=[[1], [1, 2]]), ValueError, "every channel must have the same number of levels, at least one"),
    (dict(levels=[]), ValueError, "every channel must have the same number of levels, at least one"),
    (dict(levels=[[]]), ValueError, "every channel must have the same number of levels, at least one"),
    (dict(lanes=0), TypeError, "lanes must be a positive integer, not 0"),
    (dict(bits="8"), TypeError, "bits must be a positive integer, not '8'"),
])
def test_refusals(change, error, message):
    with pytest.raises(error, match=f"^{message}$"):
        ThermometerUnit(**dict(bits=3, levels=[[1], [2]], lanes=1) | change)


def test_wrong_lanes():
    stage = ThermometerStage("bits", (), "bits", elements=6, bits=8, levels=[[1, 2]])
    with pytest.raises(FoldingError, match=r"^layer 'bits': lanes must be one of \[1, 2, 3, 6\], not 4$"):
        stage.parse({"kind": "thermometer", "lanes": 4})


def network(seed, shape=(3, 2, 2), type=(0, 255, 1), count=3, per=None, middle="tables"):
    """Integers, signs, something that takes them, class. ``per``: levels by element, by channel, or the same for all."""
    rng = np.random.default_rng(seed)
    input = TensorType(shape, *type)
    own = {None: (count,), "element": (input.size, count), "channel": (shape[-1], count)}[per]
    levels = np.sort(rng.integers(input.lo - input.step, input.hi + input.step + 1, own))
    if per == "channel":
        levels = np.tile(levels, (input.size // shape[-1], 1))
    operations, n = [Input("x", input), Thermometer("bits", "x", levels)], input.size * count
    if middle == "tables":
        operations += [Flatten("flat", "bits"), Lookup("lut", "flat", rng.integers(0, n, (30, 4)), rng.choice([-1, 1], (30, 16))),
                       GroupSum("scores", "lut", 3)]
    elif middle == "dense":
        operations += [Flatten("flat", "bits"), Dense("scores", "flat", rng.choice([-1, 1], (4, n)))]
    else:           # a map of signs through a convolution, its sums through a thermometer again, and both branches added
        channels = shape[-1] * count
        operations += [Conv2d("conv", "bits", rng.choice([-1, 1], (channels, 1, 1, channels))),
                       Threshold("act", "conv", np.zeros((channels, 1)), [False] * channels), Add("sum", "act", "bits"),
                       Thermometer("again", "sum", [-1, 1, 2]), Flatten("flat", "again"),
                       Dense("scores", "flat", rng.choice([-1, 1], (3, 3 * n)))]
    return Network([*operations, ArgMax("class", "scores")], "class")


CASES = {
    "serial": (network(0), 1), "all lanes": (network(1), 12), "by element": (network(2, per="element"), 2),
    "by channel": (network(3, per="channel"), 4), "dense": (network(4, per="element", middle="dense"), 3),
    "branch": (network(5, shape=(2, 2, 2), count=2, middle="branch"), 2), "one level": (network(6, count=1, per="element"), 3),
    "one element": (network(7, shape=(1,), count=5), 1),
    "two bytes": (network(8, shape=(20,), type=(0, 18424, 1), count=9, per="element"), 1),
}


def simulated(found, seed, lanes):
    stages = lower(found)
    plan = folding.fold(found, stages, clock_hz=1_000_000, fps=1)
    own = {stage.name: stage.parse({"kind": "thermometer", "lanes": lanes}) for stage in stages if stage.name == "bits"}
    plan = Plan(found, stages, plan.options | own, 1_000_000, plan.fifos)
    x, text = inputs(found, 120, seed), accelerator.verilog(plan)
    done = simulate.check(plan, text, x)
    verify.check_timing(plan, done.result)
    assert done.mismatches == [] and "bits" in done.result.edges
    assert simulate.check(plan, text, x[:40], p_valid=0.7, p_ready=0.4).mismatches == []


@pytest.mark.parametrize("case", CASES)
def test_in_verilog(case):
    found, lanes = CASES[case]
    simulated(found, 1, lanes)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_random_networks(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(map(int, rng.integers(1, 6, 3)))
    found = network(seed, shape, INPUTS[rng.integers(len(INPUTS))], int(rng.integers(1, 5)),
                    [None, "element", "channel"][rng.integers(3)], ["tables", "dense", "branch"][rng.integers(3)])
    size = int(np.prod(shape))
    simulated(found, seed, int(rng.choice([d for d in range(1, size + 1) if size % d == 0])))


def test_a_wrong_level_is_named():
    """One level of one element is another in the hardware: the stage and the sign are said."""
    right = network(2, per="element")
    levels = right.operations["bits"].levels.copy()
    levels[7, 1] += 1
    wrong = Network([Thermometer("bits", "x", np.sort(levels)) if op.name == "bits" else op
                     for op in right.operations.values()], "class")
    plan = folding.fold(wrong, lower(wrong), clock_hz=1_000_000, fps=1)
    x = inputs(right, 20)
    x[11, 1, 1, 1] = levels[7, 1] - 1
    first = simulate.compare(right, x, simulate.check(plan, accelerator.verilog(plan), x).result)[0]
    assert (first.layer, first.edge, first.image, first.channel) == ("bits", "bits", 11, (1, 1, 4))
