"""The float twins of benchmarks/twin.py: float weights that learn, and a figure that is measured once."""
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from bnnhw import datasets

torch = pytest.importorskip("torch")
recipe = pytest.importorskip("bnnhw.train.recipe")


def bars(count, seed):
    """Images of noise with three bright rows: the class says which."""
    rng = np.random.default_rng(seed)
    images, labels = rng.integers(0, 200, (count, 9, 8, 2), dtype=np.uint8), rng.integers(0, 3, count)
    images.reshape(count, 3, 3, 8, 2)[np.arange(count), labels] = 255
    return datasets.Split(images, labels, tuple("abc"))


@pytest.fixture
def twin(monkeypatch):
    """The benchmark's module, with a small recipe and data set."""
    spec = importlib.util.spec_from_file_location("twin", Path(__file__).parent.parent / "benchmarks" / "twin.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    blocks = [{"channels": 5, "kernel": 3, "padding": 1, "pool": pool} for pool in (False, True)]
    chosen = recipe.load("mnist-cnn").model_copy(update={"blocks": [recipe.Block(**b) for b in blocks], "hidden": [7],
                                                         "epochs": 3, "batch": 20})
    parts = {"train": bars(300, 1), "test": bars(100, 2)}
    monkeypatch.setattr(recipe, "load", lambda name: chosen)
    monkeypatch.setattr(datasets, "load", lambda name, part: parts[part])
    threads = torch.get_num_threads()
    yield module
    torch.set_num_threads(threads)


def test_measured_once(twin, tmp_path):
    found = twin.accuracy_percent("small", tmp_path, threads=1)
    rows = json.loads((tmp_path / "small.float.json").read_text())
    assert [row["epoch"] for row in rows] == [1, 2, 3] and rows[-1]["loss"] < rows[0]["loss"]
    assert found == round(100 * rows[-1]["test_accuracy"], 2) > 90
    rows[-1]["test_accuracy"] = 0.125
    (tmp_path / "small.float.json").write_text(json.dumps(rows))
    assert twin.accuracy_percent("small", tmp_path, threads=1) == 12.5


def test_weights_are_neither_signs_nor_clipped(twin):
    chosen, data = recipe.load("small"), datasets.load("", "test")
    model = twin.FloatCnn((9, 8, 2), chosen, 3, generator=torch.Generator().manual_seed(0)).eval()
    pixels = torch.from_numpy(data.images)
    with torch.no_grad():
        once = model(pixels)
        for weight in (model.convs[1].weight, model.linears[-1].weight):
            weight *= 1.5
            assert not torch.equal(model(pixels), once)     # signs would have stayed
            once = model(pixels)
        model.convs[0].weight.fill_(3.0)
        model.after_step()
        assert float(model.convs[0].weight.max()) == 3.0
