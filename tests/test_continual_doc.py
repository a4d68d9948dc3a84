"""docs/continual.md holds what benchmarks/continual.py measured."""
import importlib.util
import json
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks/results/continual.json"


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(ROOT / "benchmarks"), *sys.path])
    spec = importlib.util.spec_from_file_location("continual_table", ROOT / "benchmarks/continual_table.py")
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


def row(method, seed, final, **more):
    return {"sequence": "mnist-fashion", "first": "pixels", "method": method, "seed": seed, "hidden": [8, 4], "epochs": 4,
            "m": 0.0 if method == "plain" else 20.0, "processor_s": 10.0, "task_accuracy_percent": final,
            "curves_percent": [[90.0, 91.0, 50.0, final[0]], [None, None, 70.0, final[1]]], "compared_images": 20_000,
            "differing_decisions": 0, "differing_hidden_values": 0} | more


def test_table_and_pictures(table):
    rows = [row("plain", 0, [10.0, 80.0]), row("metaplastic", 0, [90.0, 70.0], verilog_images=120, verilog_mismatches=0),
            row("metaplastic", 1, [92.0, 74.0])]
    text = table.table(rows)
    assert "| 8-bit pixels | plain, m = 0 | 10.00 | 80.00 | **45.00** | 10 s |" in text
    assert "| 8-bit pixels | metaplastic, m = 20 | 91.00 ± 1.41 | 72.00 ± 2.83 | **81.50 ± 2.12** | 10 s |" in text
    assert "hidden layers of 8 and 4, 2 epochs for each task, seeds: 1 to 2." in text
    assert "Of 3 exported networks, 0 of 60,000 decisions and 0 hidden values differ" in text
    assert "Of 120 images through the generated Verilog of 1 of them" in text
    groups = table._groups(rows)
    assert table.picture(groups["mnist-fashion"]) == table.picture(groups["mnist-fashion"])
    assert b"task 1" in table.picture(groups["mnist-fashion"])


def test_the_page_is_what_was_measured(table):
    rows = table.read(RESULTS)
    assert table.flat(rows) == json.loads(RESULTS.read_text())["rows"]
    text = (ROOT / "docs/continual.md").read_text()
    begin, end = "<!-- python benchmarks/continual.py --write -->\n", "<!-- end of continual.py -->\n"
    assert text.split(begin)[1].split(end)[0] == table.table(rows)
    for sequence in {row["sequence"] for row in rows}:
        assert f"](continual-{sequence}.svg)" in text and (ROOT / f"docs/continual-{sequence}.svg").exists()
