"""A network on the order book's integers: trained on rows of a market, exported, all layers as constants, the same in Verilog."""
import importlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bnnhw import accelerator, planfile, simulate, verify  # noqa: E402
from bnnhw.bookmoves import CLASSES, FEATURES  # noqa: E402
from bnnhw.datasets import Split  # noqa: E402
from bnnhw.lower import lower  # noqa: E402
from bnnhw.train import export, models, recipe  # noqa: E402
from bnnhw.train.loop import Trainer  # noqa: E402
from bnnhw.train.tabular import column_levels  # noqa: E402

torch.set_num_threads(1)


def market(count, seed):
    """Rows in which the fifth feature, an imbalance and noise decide where the middle goes."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 3000, (count, len(FEATURES))).astype(np.int32)
    rows[:, 3] = 7
    push = rows[:, 4].astype(int) - rows[:, 5] + rng.integers(-300, 300, count)
    return Split(rows, (1 + (push > 800) - (push < -800)).astype(np.int64), CLASSES, 65535)


def trained(split, **changes):
    chosen = recipe.load("orderbook-mlp", **changes)
    trainer = Trainer(models.build(chosen, split), chosen, split)
    for _ in range(chosen.epochs):
        trainer.run_epoch()
    return trainer


def unfolded(network, depth):
    """The plan of docs/orderbook.md."""
    of_kind = {"dense": f'style = "unfolded"\nfabric = "ecp5"\ndepth = {depth}', "class": "lanes = 3"}
    layers = "\n".join(f'[layers.{stage.name}]\nkind = "{stage.kind}"\n{of_kind.get(stage.kind, "lanes = 1")}'
                       for stage in lower(network))
    top = f'format = 1\nnetwork = "{network.digest}"\nclock_hz = 100000000\nresult = "class"\nbuffers = "rate"\n'
    return planfile.loads(top + layers, network, lower)


@pytest.fixture(scope="module")
def found():
    test = market(300, 1)
    return export.export(trained(market(3000, 0), hidden=[16, 8], epochs=12, dropout=0.0, input_dropout=0.0), test), test


def test_what_the_network_takes(found):
    artifact, test = found
    type = artifact.network.types["row"]
    assert (type.shape, type.lo, type.hi, type.step) == ((len(FEATURES),), 0, 65535, 1) and artifact.classes == CLASSES
    levels = artifact.network.operations["bits"].levels
    assert np.array_equal(np.minimum(levels, 65536), column_levels(market(3000, 0).images, 3, 65536))
    assert artifact.provenance["test_right"] > np.bincount(test.labels).max() + 20


@pytest.mark.parametrize("p_valid, p_ready", [(1.0, 1.0), (0.5, 0.4)])
def test_constants_in_verilog(found, p_valid, p_ready):
    """All integers between the stages; a feature a cycle, and without stalls in as many cycles as the plan says."""
    artifact, test = found
    plan = unfolded(artifact.network, 2)
    assert plan.cycles_per_inference == len(FEATURES)
    done = simulate.check(plan, accelerator.verilog(plan), test.images, p_valid=p_valid, p_ready=p_ready)
    assert done.mismatches == [] and len(done.result.beats) == 300
    if p_valid == p_ready == 1.0:
        verify.check_timing(plan, done.result)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_dropped_inputs(share):
    """In training a share of the first layer's inputs is left out of its sums, which are scaled up; else none."""
    split, seen = market(200, 2), []
    model = models.build(recipe.load("orderbook-mlp", input_dropout=share), split)
    model.linears[0].sums = lambda x, generator=None: seen.append(x) or torch.zeros(len(x), 32)
    rows, generator = torch.from_numpy(split.images), torch.Generator().manual_seed(0)
    model.train()(rows, generator)
    model.eval()(rows)
    training, evaluation = seen
    assert set(np.unique(evaluation)) == {-1.0, 1.0} and np.array_equal(training[training != 0], evaluation[training != 0])
    assert abs(float((training == 0).float().mean()) - share) < 0.02


def test_a_resample_without_a_class_has_no_balanced_accuracy(monkeypatch):
    """Over two of three classes it would be the easier; intervals leave such resamples out."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    benchmark = importlib.import_module("orderbook")
    labels = np.array([0, 1, 1, 2])
    always_same = np.tile([0.0, 1.0, 0.0], (4, 1))
    accuracy, balanced, *areas = benchmark.figures(labels, always_same)
    assert (accuracy, round(balanced, 6), areas) == (50.0, round(100 / 3, 6), [0.5, 0.5])
    without = benchmark.figures(labels[:3], always_same[:3])
    assert np.isnan(without[[1, 3]]).all() and round(without[0], 6) == round(200 / 3, 6) and without[2] == 0.5
    drawn = np.array([benchmark.figures(labels, always_same)] * 5 + [without] * 5)
    assert benchmark.interval(drawn)[:, 1].tolist() == [33.3333, 33.3333]
