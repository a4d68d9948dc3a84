"""The networks that ship: their bars, their provenance, and the ladder L0 to L2 on them."""
import tomllib
from pathlib import Path

import numpy as np
import pytest

from bnnhw import accelerator, datasets, folding, models, reference, simulate, verify
from bnnhw.lower import lower
from bnnhw.simulator import Simulator, encode

DENSE = {"mnist-tfc": 9_450, "mnist-sfc": 9_730}     # right of 10,000, at least
CONVOLUTIONAL = {"mnist-cnn-small": 9_700, "mnist-cnn": 9_850, "fashion-residual": 8_600, "fashion-cnn": 8_900,
                 "cifar10-cnv-narrow": 6_100}
SPARSE = {"mnist-lut4": 9_820, "mnist-lut6": 9_820, "mnist-lut6-wide": 9_862, "fashion-lut4": 8_639}
BARS = DENSE | CONVOLUTIONAL | SPARSE


def plan_of(name, scores=True):
    network = models.load(name).network
    return folding.fold(network, lower(network, scores=scores), clock_hz=24_000_000, fps=100_000)


def test_all_are_here():
    assert models.names() == sorted(BARS)


@pytest.mark.parametrize("name", [*DENSE, *SPARSE, *(pytest.param(name, marks=pytest.mark.slow) for name in CONVOLUTIONAL)])
def test_accuracy_is_what_the_file_says(name):
    found = models.load(name)
    try:
        test = datasets.load(found.provenance["dataset"], "test")
    except datasets.DatasetError as error:
        pytest.skip(f"its data set cannot be had here: {error}")
    right, total = reference.accuracy(found.network, test.images, test.labels)
    assert total == 10_000 and right == found.provenance["test_right"] >= BARS[name]


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_accuracy_on_the_shipped_images(name):
    """At least the bar, less what a sample of their size may miss it by: three standard deviations."""
    found = models.load(name)
    images, labels = models.test_images(found.provenance["dataset"])
    right, total = reference.accuracy(found.network, images.reshape(len(images), *found.network.types["image"].shape), labels)
    bar = BARS[name] / 10_000
    assert right / total >= bar - 3 * (bar * (1 - bar) / total)**0.5


@pytest.mark.parametrize("name", BARS)
def test_recipe_is_the_shipped_one(name):
    found = tomllib.loads((Path(__file__).parent.parent / "train" / "recipes" / f"{name}.toml").read_text())
    provenance = models.load(name).provenance
    assert provenance["recipe"] == {"kind": "mlp"} | found and provenance["dataset"] == found["dataset"]
    assert provenance["checked"] == {"images": 10_000, "differing_decisions": 0, "differing_hidden_values": 0}


@pytest.mark.parametrize("name", BARS)
def test_small_enough_to_ship(name):
    assert models.path(name).stat().st_size < 200_000


@pytest.mark.parametrize("name, count", [("mnist-tfc", 1_000), ("mnist-sfc", 200)])
def test_verilog_is_exact(name, count):
    """Every class, score and value between the stages; interval and latency to the cycle."""
    plan = plan_of(name)
    facts = verify.in_verilog(plan, accelerator.verilog(plan), count)
    assert facts["mismatches"] == 0 and facts["interval_cycles"] == plan.cycles_per_inference
    assert facts["latency_cycles"] == plan.latency_cycles
    images, labels = models.test_images()
    right, _ = reference.accuracy(plan.network, images[:count, ..., None], labels[:count])
    assert facts["right"] == right
    assert len(facts["edges_compared"]) == len(plan.stages) - 1


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "mnist-lut4")) for name in SPARSE])
def test_tables_are_exact(name):
    """Every table's output, every vote and class, an image per clock."""
    found = models.load(name)
    plan = folding.fold(found.network, lower(found.network), clock_hz=24_000_000, fps=24_000_000)
    x, labels = verify.images_for(found.network, 200, found.provenance["dataset"])
    simulator = Simulator.of_plan(plan, accelerator.verilog(plan), taps=accelerator.taps(plan), optimize="-O0")
    result = simulator.run(encode(found.network, x), taps=True)
    verify.check_timing(plan, result)
    facts = verify.summary(found.network, x, labels, result, "Verilog")
    tables = {op.name for op in found.network.operations.values() if op.kind == "Lookup"}
    assert facts["mismatches"] == 0 and facts["interval_cycles"] == 1 and tables < set(facts["edges_compared"])
    assert facts["right"] == (reference.run(found.network, x)["class"] == labels).sum()


def test_stalls_do_not_matter():
    plan = plan_of("mnist-tfc", scores=False)
    x, _ = verify.images_for(plan.network, 100)
    for p_valid, p_ready in ((0.3, 1.0), (1.0, 0.004), (0.5, 0.01)):
        found = simulate.check(plan, accelerator.verilog(plan), x, p_valid=p_valid, p_ready=p_ready, seed=7)
        assert found.mismatches == []


def test_timing_does_not_depend_on_weights():
    """Other weights, other images, the same cycles."""
    from bnnhw.ir import Dense, Network
    network = models.load("mnist-tfc").network
    rng = np.random.default_rng(0)
    other = Network([Dense(name, *op.inputs, rng.choice([-1, 1], op.weights.shape)) if op.kind == "Dense" else op
                     for name, op in network.operations.items()], network.outputs)
    times = []
    for each in (network, other):
        plan = folding.fold(each, lower(each, scores=True), clock_hz=24_000_000, fps=100_000)
        x, _ = verify.images_for(each, 20)
        result = simulate.check(plan, accelerator.verilog(plan), x).result
        times.append((result.first_in.tolist(), result.last_out.tolist()))
    assert times[0] == times[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", DENSE)
def test_all_ten_thousand_images(name):
    plan = plan_of(name)
    facts = verify.in_verilog(plan, accelerator.verilog(plan), 10_000)
    assert facts["mismatches"] == 0 and facts["right"] == models.load(name).provenance["test_right"] >= BARS[name]
    if name == "mnist-tfc":
        assert facts["seconds"] < 60
