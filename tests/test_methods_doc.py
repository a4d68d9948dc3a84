"""docs/recipes.md: every method has its section, and the table says what was measured."""
import importlib.util
import json
import re
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from bnnhw.train import estimators, methods, recipe  # noqa: E402 - torch first, so that all is skipped without it
from bnnhw.train.methods.base import HOOKS, Method  # noqa: E402

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/recipes.md"
RESULTS = ROOT / "benchmarks/results/methods.json"


def module(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "benchmarks" / f"{name}.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def test_every_method_has_its_section():
    titles = {name.strip() for line in re.findall(r"^### (.*)", PAGE.read_text(), re.M) for name in line.split(",")}
    named = {kind.model_fields["name"].annotation.__args__[0] for kind in methods.METHODS}
    assert named - titles == set() and titles - named == {"bi-real-net", "dropout"}


def test_every_key_recipe_and_estimator_is_explained():
    text = PAGE.read_text()
    keys = {key for kind in methods.METHODS for key in kind.model_fields}
    assert sorted(key for key in keys if not re.search(rf"`{key}\b", text)) == []
    shipped = [name for name in recipe.names() if getattr(recipe.load(name), "methods", ())]
    assert [name for name in (*shipped, *estimators.ESTIMATORS) if f"`{name}`" not in text] == []


def test_keys_and_hooks_of_every_method():
    """The table of how methods are put together, against the classes."""
    found = {}
    for name, keys, hooks in re.findall(r"^\| `([^`]*)` \| ([^|]*)\| ([^|]*)\|[^|]*\|[^|]*\|$", PAGE.read_text(), re.M):
        found[name] = [set(re.findall("`(.*?)`", cell)) for cell in (keys, hooks)]
    want = {}
    for kind in methods.METHODS:
        fields = dict(kind.model_fields)
        name = fields.pop("name").annotation.__args__[0]
        want[name] = [set(fields), {hook for hook in HOOKS if getattr(kind, hook) is not getattr(Method, hook)}]
    assert found == want


def test_the_table_is_what_was_measured():
    table, text = module("methods_table"), PAGE.read_text()
    measured = table.table(json.loads(RESULTS.read_text())["rows"] if RESULTS.exists() else [])
    assert text.split(table.BEGIN)[1].split(table.END)[0].strip() == measured.strip()


ROW = {"dataset": "mnist", "network": "mlp", "method": "float-twin", "seed": 0, "epochs": 2, "processor_s": 4.0, "weights": 64,
       "test_accuracy_percent": 90.0, "float32_weights_bytes": 344, "flips_last_epoch_percent": None, "file_bytes": None,
       "packed_weights_bytes": None, "compared_images": None, "differing_decisions": None, "differing_hidden_values": None,
       "verilog_images": None, "verilog_mismatches": None}
EXACT = {"compared_images": 100, "differing_decisions": 0, "differing_hidden_values": 0, "verilog_images": 10,
         "verilog_mismatches": 0, "file_bytes": 999, "packed_weights_bytes": 8}


def test_table_and_picture():
    rows = [ROW, *(ROW | EXACT | {"method": method, "seed": seed, "test_accuracy_percent": 80.0 + seed + bonus,
                                  "flips_last_epoch_percent": 1.5, "processor_s": 8.0 if bonus else 4.0}
                   for method, bonus in (("binarynet", 0), ("recu", 5)) for seed in (0, 1))]
    table = module("methods_table")
    text = table.table(rows)
    assert "| float-twin | 1 | 90.00 | 1.00 | - |" in text and "| recu | 2 | 85.50 ± 0.71 | 2.00 | 1.50 % |" in text
    assert "binarynet takes 4 s (MNIST, MLP)" in text
    assert ("| MNIST, MLP | 90.00 % | 80.50 % | 85.50 % (recu) | 9.50 | 4.50 | 344 bytes | 8 bytes | 43.0 | 999 bytes |") in text
    assert "Of 4 exported networks, 0 of 400 decisions" in text
    assert "0 of 40 images between golden model and generated Verilog, of 4 of them" in text
    fewer = table.table([*rows[:-1], rows[-1] | {"verilog_images": None, "verilog_mismatches": None}])
    assert "0 of 30 images between golden model and generated Verilog, of 3 of them" in fewer
    more = [*rows, ROW | EXACT | {"method": "recu", "dataset": "fashion-mnist", "flips_last_epoch_percent": 9.0}]
    assert "| recu | 1 to 2 | 85.50 ± 0.71 | 90.00 | 2.00 | 1.50 % |" in table.table(more)       # a part of the rows says so
    assert table.picture(rows) == table.picture(rows)       # equal results, equal files
    assert table.picture(rows).startswith(b"<?xml")


def test_rows_are_measured_once(tmp_path, monkeypatch, capsys):
    """A row that is there is not trained again; a row that fails is named at the end, and the others are written."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    benchmark, trained = module("methods"), []

    def train(key, epochs, parts):
        trained.append((key, epochs))
        if key[2] == "bop":
            raise ValueError("flips")
        return ROW | dict(zip(("dataset", "network", "method", "seed"), key, strict=True))
    monkeypatch.setattr(benchmark, "train", train)
    monkeypatch.setattr(benchmark.datasets, "load", lambda *names: names)
    path = tmp_path / "m.json"

    def run(*options):
        monkeypatch.setattr(sys, "argv", ["methods.py", "--results", str(path), *options])
        with pytest.raises(SystemExit) as caught:
            benchmark.main()
        return caught.value.code
    assert run("--only", "mnist/mlp/b", "--seeds", "1", "--epochs", "2") == "failed:\nmnist/mlp/bop/0: ValueError: flips\n" \
        "fashion-mnist/mlp/bop/0: ValueError: flips"
    rows = json.loads(path.read_text())["rows"]
    assert len(rows) == len(trained) - 2 == 10 and {epochs for _, epochs in trained} == {2}
    trained.clear()
    assert run("--only", "mnist/mlp/bi", "--seeds", "2") == 0
    assert len(trained) == 10 and {key[3] for key, _ in trained} == {1} and trained[0][1] == 30
    assert len(json.loads(path.read_text())["rows"]) == 20
    keys = list(benchmark.keys(3))
    assert len(keys) == len(set(keys)) == 3 * 2 * (18 + 20) and keys[0] == ("mnist", "mlp", "float-twin", 0)
    assert [key[1] for key in keys] == sorted((key[1] for key in keys), reverse=True)       # MLPs first
