"""Committed figures: every result file is well formed, and the README says what they say."""
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bnnhw import accelerator, boards, closure, models, planfile
from bnnhw.cli import main
from bnnhw.gateware.width import DownConverter
from bnnhw.lower import lower

ROOT = Path(__file__).parent.parent
RESULTS = sorted((ROOT / "benchmarks" / "results").glob("*.json"))


@pytest.mark.parametrize("path", RESULTS, ids=[path.stem for path in RESULTS])
def test_result_file(path):
    found = json.loads(path.read_text())
    assert set(found) == {"command", "versions", "rows"}
    assert found["command"].startswith("python benchmarks/") and found["rows"]
    assert (ROOT / found["command"].split()[1]).exists()
    assert all(row.keys() == found["rows"][0].keys() for row in found["rows"])
    assert all(not isinstance(value, (dict, list)) for row in found["rows"] for value in row.values())


def test_readme_says_what_the_results_say(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("readme", ROOT / "benchmarks" / "readme.py")
    readme = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(readme)
    text = (ROOT / "README.md").read_text()
    assert text.split(readme.BEGIN)[1].split(readme.END)[0].strip() == readme.results().strip()


def of_benchmarks(monkeypatch, name):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module(name)


def area_rows():
    return json.loads((ROOT / "benchmarks" / "results" / "area.json").read_text())["rows"]


AREA_QUICK = ("random 64x16", "mnist-tfc 4", "EPFL voter")


@pytest.mark.parametrize("circuit", [pytest.param(name, marks=[] if name in AREA_QUICK else pytest.mark.slow)
                                     for name in sorted({row["circuit"] for row in area_rows()})])
def test_area_is_of_this_code(monkeypatch, circuit):
    """The Verilog whose cells were counted is what comes out today."""
    area = of_benchmarks(monkeypatch, "area")
    own = {row["fabric"]: row["verilog"] for row in area_rows() if row["circuit"] == circuit and row["design"] == "ours"}
    if circuit == area.VOTER:
        texts = {"LUT6": area.blif(area.threshold(1001, 501)[0], "voter")}
    else:
        texts = {fabric: area.baked.layer(*area.circuits()[circuit], fabric).verilog() for fabric in own}
    assert own == {fabric: area.digest_of(text) for fabric, text in texts.items()} and own


def test_records_are_of_this_code(monkeypatch):
    """So is the Verilog of the records."""
    records, found = of_benchmarks(monkeypatch, "records"), {}
    for name, (network, where, _, clock_hz) in records.CASES.items():
        network = models.load(network).network
        plan = records.plan_of_fabric(network, where, clock_hz) if where == "xc7" else \
            records.plan_of(network, boards.find(where), clock_hz)
        found[name] = records.digest_of(accelerator.verilog(plan, cells=True))
    rows = json.loads((ROOT / "benchmarks" / "results" / "records.json").read_text())["rows"]
    assert found == {row["name"]: row["verilog"] for row in rows}


BOARDS_QUICK = ("mnist-tfc icebreaker", "mnist-lut4 ulx3s-25f", "mnist-cnn-small tang-nano-9k")
BOARDS_ROWS = [row for row in json.loads((ROOT / "benchmarks" / "results" / "boards.json").read_text())["rows"]
               if row["fits"] == "yes"]


@pytest.mark.parametrize("row", [
    pytest.param(row, id=name, marks=[] if name in BOARDS_QUICK else pytest.mark.slow) for row in BOARDS_ROWS
    for name in [f"{row['network']} {row['board']} {row['options']}".strip()]])
def test_boards_are_of_this_code(monkeypatch, tmp_path, row):
    """What was placed and routed is what ``bnnhw build`` plans and writes today, and expects of it."""
    monkeypatch.setenv("BNNHW_CACHE", str(tmp_path))      # no circuits kept by `bnnhw explore --exact`
    benchmark = of_benchmarks(monkeypatch, "boards")
    today = benchmark.today(row["network"], row["board"], row["options"].split())
    assert today == {key: row[key] for key in today} and today["verilog"]


@pytest.mark.parametrize("name, function, columns", [
    ("popcount", "combinational", ("circuit", "lanes", "tree")), ("mvtu", "layer", ("n_in", "pe", "simd", "popcount"))])
def test_popcounts_are_of_this_code(monkeypatch, name, function, columns):
    benchmark = of_benchmarks(monkeypatch, name)
    rows = json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())["rows"]
    recorded = {(*(row[column] for column in columns), row["verilog"]) for row in rows}
    assert recorded == {(*case, benchmark.digest_of(getattr(benchmark, function)(*case))) for *case, _ in recorded}


def test_single_layers_are_of_this_code(monkeypatch, tmp_path):
    """Those whose registers and synthesis settings are compared."""
    monkeypatch.setenv("BNNHW_CACHE", str(tmp_path))
    routed = of_benchmarks(monkeypatch, "routed")
    recorded = {(f"{row['design']} {row.get('more', '')}".strip(), row["device"], row["verilog"])
                for name in ("closure", "settings") for row in of_benchmarks(monkeypatch, name).rows_of()}
    assert recorded == {(*case, routed.digest(*case)) for *case, _ in recorded}


def test_closed_clocks_are_of_this_code(monkeypatch, tmp_path):
    """The design planned for the clock that routing found is the one that ``--clock auto`` plans for it today."""
    monkeypatch.setenv("BNNHW_CACHE", str(tmp_path))
    benchmark, planned = of_benchmarks(monkeypatch, "clocks"), []
    monkeypatch.setattr(closure, "routed_hz", lambda plan, board, narrator: None)
    for row in benchmark.rows_of():
        def close(*_, replan, clock_hz=row["clock_mhz"] * 1e6, **__):
            planned.append(replan(clock_hz))
            sys.exit()
        monkeypatch.setattr(closure, "close", close)
        with pytest.raises(SystemExit):
            main(benchmark.build_command(row["network"], row["board"], tmp_path / "out"))
        assert benchmark.digest_of(accelerator.verilog(planned[-1])) == row["verilog"], row["board"]
    assert len(planned) == len(benchmark.CASES)


@pytest.mark.slow
def test_all_of_tfc_is_of_this_code(monkeypatch):
    unfolded, network = of_benchmarks(monkeypatch, "unfolded"), models.load("mnist-tfc").network
    plan = planfile.loads(unfolded.plan_text(network, 1), network, lower)
    row, = json.loads((ROOT / "benchmarks" / "results" / "unfolded.json").read_text())["rows"]
    assert unfolded.digest_of(accelerator.verilog(plan, cells=True)) == row["verilog"]


def test_ours_are_the_fewest_cells(monkeypatch):
    """Of every circuit on every fabric that has a peer: what the docs say."""
    rows = of_benchmarks(monkeypatch, "area").by_case(area_rows())
    peers = {case: row["cells"] for case, row in rows.items() if case[2] != "ours" and row["cells"]}
    assert len(peers) > 40 and all(cells > rows[*case[:2], "ours"]["cells"] for case, cells in peers.items())


def test_every_circuit_has_its_rows(monkeypatch):
    area = of_benchmarks(monkeypatch, "area")
    assert {(row["circuit"], row["fabric"], row["design"]) for row in area_rows()} == set(area.cases(area.circuits()))


def test_a_tree_of_plus_is_never_the_better_peer():
    """Which is why it is not mapped where that takes longest."""
    rows = {(row["circuit"], row["fabric"], row["design"]): row["cells"] for row in area_rows()}
    both = [(rows[circuit, fabric, "naive"], rows[circuit, fabric, "full adders"])
            for circuit, fabric, design in rows if design == "naive"]
    assert len(both) > 25 and all(plus >= adders for plus, adders in both)


def test_what_was_not_routed_is_not_called_refused(monkeypatch):
    benchmark = of_benchmarks(monkeypatch, "boards")
    rows = [row for row in json.loads(benchmark.FILE.read_text())["rows"] if benchmark.UNENDED not in row["fits"]]
    routed = next(row for row in rows if row["fits"] == "yes" and not row["options"])
    unended = routed | {"fits": f"error: {benchmark.UNENDED} on some device (nextpnr's last line: none)"}
    own, before = f"| {routed['network']} | {routed['board']} | ", benchmark.table(rows)
    after = benchmark.table([unended if row is routed else row for row in rows])
    assert own in before and own not in after
    before, after = (text.split(" are refused: ")[1].split("\nWhat the planner")[0] for text in (before, after))
    assert after == before + f"\nNot routed after 10 minutes: {routed['network']} on {routed['board']}.\n"


WRITERS = sorted(found[1] for page in (ROOT / "docs").glob("*.md")
                 for found in re.finditer(r"^<!-- (?:\w+: )?python benchmarks/(\w+\.py) --write -->$", page.read_text(), re.M))


@pytest.mark.parametrize("script", WRITERS)
def test_page_says_what_the_results_say(script, tmp_path):
    copied = shutil.copytree(ROOT / "docs", tmp_path / "docs")
    shutil.copytree(ROOT / "benchmarks", tmp_path / "benchmarks")
    done = subprocess.run([sys.executable, f"benchmarks/{script}", "--write"], cwd=tmp_path, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert not done.returncode, done.stderr
    for page in copied.glob("*.md"):
        assert page.read_text() == (ROOT / "docs" / page.name).read_text(), page.name


def test_records_keep_no_pixel_that_no_table_reads(monkeypatch):
    """On boards pixels come one by one, and the tables gather what each gives: no whole vector is put together."""
    records = of_benchmarks(monkeypatch, "records")
    found = {}
    for name, (network, where, *_, clock_hz) in records.CASES.items():
        if where in boards.names():
            plan = records.plan_of(models.load(network).network, boards.find(where), clock_hz)
            between = [element.build.func for element in plan.elements if element.stage is None]
            found[name] = plan.options["class"].lanes, plan.cycles_per_inference, between
    assert found == {"up5k": (1, 784, []), "up5k-fashion": (1, 3 * 784, [DownConverter]), "ecp5-25f": (1, 784, [])}


def test_every_page_that_is_linked_exists():
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name} links {target}"
