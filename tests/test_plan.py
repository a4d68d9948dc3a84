"""Plans: automatic folding, the file, and the schedule."""

import numpy as np
import pytest
import tomlkit
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import planfile
from bnnhw.buffers import with_buffers
from bnnhw.devices import DEVICES
from bnnhw.folding import check_memory, fold
from bnnhw.ir import Add, Affine, ArgMax, Dense, Input, Network, TensorType
from bnnhw.lower import lower
from bnnhw.plan import Plan, PlanError
from bnnhw.stages import FoldingError
from bnnhw.stages.base import LanesOptions
from bnnhw.stages.dense import FoldedOptions
from bnnhw.stages.result import ClassOptions

from .networks import dense_network, networks

TFC = dense_network([64, 64, 64, 10], (28, 28, 1))


def tfc_plan(fps=100_000, clock_hz=24_000_000, scores=False):
    return fold(TFC, lower(TFC, scores=scores), clock_hz=clock_hz, fps=fps)


@pytest.mark.parametrize("fps", [1, 100, 10_000, 100_000, 1_000_000])
def test_rate_is_met(fps):
    plan = tfc_plan(fps)
    assert plan.core_fps >= fps
    for stage in plan.stages:
        assert plan.cycles_per_inference >= stage.cycles(plan.options[stage.name])


def test_interval_is_the_slowest_stage():
    """No bubble between frames: the chain is exactly as fast as its slowest part."""
    plan = tfc_plan()
    busy = max(stage.cycles(plan.options[stage.name]) for stage in plan.stages)
    assert plan.cycles_per_inference == busy == plan.bottleneck.stage.cycles(plan.options[plan.bottleneck.name])


@settings(max_examples=30, deadline=None)
@given(network=networks(), budget=st.integers(20, 400))
def test_any_network(network, budget):
    plan = fold(network, lower(network), clock_hz=1_000_000, fps=1_000_000 / budget)
    words = max(max(e.words_in, e.words_out) for e in plan.elements)
    busy = max(stage.cycles(plan.options[stage.name]) for stage in plan.stages)
    assert plan.cycles_per_inference == max(words, busy) <= budget
    assert plan.latency_cycles >= plan.cycles_per_inference


def test_impossible_rates():
    with pytest.raises(PlanError, match="^layer 'class': 2 cycles per image are not enough: it takes at least 11$"):
        tfc_plan(10_000_000, scores=True)
    with pytest.raises(PlanError, match=r"^48,000,000 images/s at 24 MHz: at most one image per cycle is possible$"):
        tfc_plan(48_000_000)


def test_block_rams():
    sizes = ((16, 256), (16, 257), (1, 1), (8, 512), (9, 512), (2, 2048), (256, 196))
    assert [DEVICES["up5k"].block_rams(*size) for size in sizes] == [1, 2, 1, 1, 2, 1, 16]
    # What yosys makes of these on an ECP5: 44, 2, 3 and 1.
    sizes = [(224, 3584), (20, 1500), (5, 10000), (7, 2100)]
    assert [DEVICES["ecp5-85f"].block_rams(*size) for size in sizes] == [49, 3, 5, 2]
    assert [DEVICES["ecp5-85f"].least_block_rams(*size) for size in sizes] == [44, 2, 3, 1]


def test_weights_that_do_not_fit():
    assert check_memory(tfc_plan(), DEVICES["up5k"]) == 14 + 2 + 2
    sfc = dense_network([256, 256, 256, 10], (28, 28, 1))
    plan = fold(sfc, lower(sfc), clock_hz=24_000_000, fps=10_000)
    with pytest.raises(PlanError, match=r"^the 334,336 weights take \d+ block RAMs as folded, but up5k has 30 "
                                        r"\(122,880 bits\); layer 'fc1' alone takes \d+$"):
        check_memory(plan, DEVICES["up5k"])


@pytest.mark.parametrize("scores", [False, True])
def test_file_round_trip(scores):
    plan = tfc_plan(scores=scores)
    text = planfile.dumps(plan)
    again = planfile.loads(text, TFC, lower)
    assert (again.options, again.clock_hz, again.scores) == (plan.options, plan.clock_hz, scores)
    assert planfile.dumps(again) == text


def edited(path, value):
    file = tomlkit.parse(planfile.dumps(tfc_plan()))
    table = file
    for key in path[:-1]:
        table = table[key]
    if value is None:
        del table[path[-1]]
    else:
        table[path[-1]] = value
    return tomlkit.dumps(file)


@pytest.mark.parametrize("path, value, error, message", [
    (("layers", "fc1", "pe"), 65, FoldingError, "layer 'fc1': PE must be from 1 to 64, not 65"),
    (("layers", "fc2", "simd"), 0, FoldingError, "layer 'fc2': SIMD must be from 1 to 64, not 0"),
    (("layers", "fc2", "simd"), "all", FoldingError, "layer 'fc2': SIMD must be from 1 to 64, not 'all'"),
    (("layers", "fc1", "memory"), "uram", FoldingError,
     "layer 'fc1': memory must be one of ['bram', 'lut', 'updatable'], not 'uram'"),
    (("layers", "fc2", "registers"), -1, FoldingError, "layer 'fc2': registers must be from 0 to 3 with SIMD 16, not -1"),
    (("layers", "fc1", "style"), "lut", FoldingError, "layer 'fc1': style must be one of ['folded', 'unfolded'], not 'lut'"),
    (("layers", "fc1", "pe"), None, FoldingError, "layer 'fc1': pe: field required"),
    (("layers", "fc1", "lanes"), 3, FoldingError, "layer 'fc1': lanes: extra inputs are not permitted"),
    (("layers", "fc1", "kind"), "conv", FoldingError, "layer 'fc1': kind must be one of ['dense'], not 'conv'"),
    (("layers", "binarize", "lanes"), 5, FoldingError, "layer 'binarize': lanes must be one of "
     "[1, 2, 4, 7, 8, 14, 16, 28, 49, 56, 98, 112, 196, 392, 784], not 5"),
    (("layers", "class", "lanes"), 5, FoldingError, "layer 'class': lanes must be one of [1, 10], not 5"),
    (("layers", "fc9"), {}, PlanError, "plan: there is no layer 'fc9'; there are "
     "['binarize', 'fc1', 'fc2', 'fc3', 'fc4', 'class']"),
    (("layers", "fc1"), None, PlanError, "plan: table [layers.fc1] is missing"),
    (("clock",), 3, PlanError, "plan: unknown key 'clock'; known are ['buffers', 'clock_hz', 'fifos', 'format', 'layers', "
     "'network', 'result']"),
    (("clock_hz",), None, PlanError, "plan: key 'clock_hz' is missing"),
    (("clock_hz",), 0, PlanError, "plan: clock_hz must be a positive integer, not 0"),
    (("clock_hz",), True, PlanError, "plan: clock_hz must be a positive integer, not True"),
    (("format",), True, PlanError, "plan: format True, but this version of bnnhw reads up to 1"),
    (("buffers",), "big", PlanError, "plan: buffers must be one of ['rate', 'live'], not 'big'"),
    (("fifos",), {"a_to_b": 3}, PlanError, "plan: there is no branch 'a_to_b'; there are []"),
    (("format",), 2, PlanError, "plan: format 2, but this version of bnnhw reads up to 1"),
    (("result",), "all", PlanError, "plan: result must be one of ['class', 'scores'], not 'all'"),
    (("network",), "abc", PlanError, f"plan: it is the plan of another network (abc..., not {TFC.digest[:12]}...)"),
])
def test_file_errors(path, value, error, message):
    with pytest.raises(error) as refusal:
        planfile.loads(edited(path, value), TFC, lower)
    assert str(refusal.value) == message


def test_unfolded():
    text = edited(("layers", "fc4"), {"kind": "dense", "style": "unfolded", "fabric": "ecp5", "depth": 2})
    plan = planfile.loads(text, TFC, lower)
    assert plan.stages[4].cycles(plan.options["fc4"]) == 1
    text = edited(("layers", "fc4"), {"kind": "dense", "style": "unfolded", "fabric": "ecp5", "depth": 0})
    with pytest.raises(FoldingError, match="^layer 'fc4': depth must be at least 1, not 0$"):
        planfile.loads(text, TFC, lower)


def test_not_toml():
    with pytest.raises(PlanError, match="^x.toml: not TOML: "):
        planfile.loads("a = ", TFC, lower, where="x.toml")


def test_a_layer_called_like_a_port():
    """Converters in front of a sum are called by its ports, but never as those of another layer."""
    network = Network([Input("x", TensorType((4,), 0, 3)), Dense("fc", "x", np.ones((4, 4))), Add("sum", "fc", "x"),
                       Affine("sum_1", "sum", [1, 2, 3, 4], [0] * 4), ArgMax("class", "sum_1")], "class")
    stages = lower(network)
    options = {"x": LanesOptions(kind="input", lanes=1), "fc": FoldedOptions(pe=1, simd=1, memory="lut"),
               "sum": LanesOptions(kind="add", lanes=2), "sum_1": LanesOptions(kind="affine", lanes=4),
               "class": ClassOptions(lanes=1)}
    plan = with_buffers(Plan(network, stages, options, 1_000_000))
    assert [element.name for element in plan.elements] == [
        "x", "x_fork", "fc", "sum_0_join", "sum_1__join", "sum", "sum_1_join", "sum_1", "class_split", "class"]
    assert plan.cycles_per_inference == 16
