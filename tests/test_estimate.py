"""Estimates: held to recorded runs of the tools, monotone where circuits are, sums of their parts, fast."""
import dataclasses
import json
import math
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bnnhw import boards, devices, estimate, folding, implement, models, planfile, tools
from bnnhw.estimate import figures, memory, packing
from bnnhw.estimate.stages import _different
from bnnhw.lower import lower
from bnnhw.plan import Plan
from bnnhw.planner.goals import Planner
from bnnhw.stages import ConvStage, DenseStage
from bnnhw.stages.base import BufferOptions
from bnnhw.stages.conv import ConvOptions
from bnnhw.stages.dense import FoldedOptions

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
UP5K, ECP5, GOWIN = devices.find("up5k"), devices.find("ecp5-25f"), devices.find("gw1nr-9")


@pytest.fixture(scope="module")
def calibrate():
    """The benchmark, as a module."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        import calibrate
        yield calibrate
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("BNNHW_CACHE", str(tmp_path))


def dense(n_in=64, n_out=32, seed=0):
    from bnnhw.gateware.mvtu import Signs
    rng = np.random.default_rng(seed)
    weights = rng.choice([-1, 1], (n_out, n_in)).astype(np.int8)
    result = Signs([rng.integers(n_in // 3, 2 * n_in // 3, n_out).tolist()])
    return DenseStage("fc", (), None, weights=weights, bits=1, result=result, reach=[n_in] * n_out)


def plan_of(name):
    """A plan of no merit: of each stage the options in the middle, folded where it can be, and some words for each branch."""
    network = models.load(name).network
    stages, options = lower(network, scores=True), {}
    for stage in stages:
        space = [own for own in stage.folding_space() if getattr(own, "style", "folded") == "folded"
                 or getattr(own, "fabric", "ice40") == "ice40" and not isinstance(stage, DenseStage)]
        own = space[len(space) // 2]
        options[stage.name] = own.model_copy(update={"depth": stage.elements_in}) if isinstance(own, BufferOptions) else own
    plan = Plan(network, stages, options, 24_000_000)
    return dataclasses.replace(plan, fifos={stream: 40 * k for k, stream in enumerate(plan.branches)})


def test_constants_are_those_of_the_rows(calibrate):
    fitted, shipped = calibrate.fit(calibrate.rows_of()), figures.constants()
    assert fitted.keys() == shipped.keys()
    for target, own in fitted.items():
        assert own.keys() == shipped[target].keys()
        for name, values in own.items():
            assert values == shipped[target][name], (target, name)


def test_rows_are_those_of_the_grid(calibrate):
    """Each once, so that a fit from scratch has no others; what the grid has and they do not is counted on the page."""
    rows, designs = list(map(calibrate.key_of, calibrate.rows_of())), list(calibrate.grid.all_designs())
    assert len(set(rows)) == len(rows) and len(set(designs)) == len(designs)
    assert set(rows) <= set(designs)
    assert len(calibrate.missing(calibrate.rows_of())) == len(designs) - len(rows)


def test_a_changed_component_is_noticed(calibrate, monkeypatch, tmp_path):
    """Its rows are measured again, others are not."""
    made = []

    def measured(use, line, device, routed):
        made.append(line)
        text, *_ = calibrate.designs.verilog_of(line, "", devices.find(device))
        return {"use": use, "design": line, "device": device, "verilog": calibrate.digest_of(text), "plan": "",
                **dict.fromkeys((f"fmax_mhz_seed_{seed}" for seed in calibrate.SEEDS), None)}
    lines = ["slice bits=12", "slice bits=60", "fork bits=8 first=0 second=0"]
    monkeypatch.setattr(calibrate, "measured", measured)
    monkeypatch.setattr(calibrate, "versions", lambda *tools: {})
    monkeypatch.setattr(calibrate, "FILE", tmp_path / "calibration.json")
    monkeypatch.setattr(calibrate.grid, "all_designs", lambda: [("fit", line, "up5k", False) for line in lines])
    calibrate.run("slice")
    assert made == lines[:2]
    calibrate.run("")
    assert made == lines
    rows = calibrate.rows_of()
    rows[1]["verilog"] = "0"
    calibrate.FILE.write_text(json.dumps({"rows": rows}))
    calibrate.run("")
    assert made == [*lines, lines[1]] and sorted(row["design"] for row in calibrate.rows_of()) == sorted(lines)
    assert not any(map(calibrate.outdated, calibrate.rows_of()))


def test_the_page_says_what_the_rows_say(calibrate):
    text = calibrate.PAGE.read_text()
    assert text.split(calibrate.BEGIN)[1].split(calibrate.END)[0].strip() == calibrate.page(calibrate.rows_of()).strip()


def test_block_rams_are_those_of_the_runs(calibrate):
    wrong = []
    for row in calibrate.rows_of():
        device = devices.find(row["device"])
        found = calibrate.designs.estimated(row, device).brams if row["plan"] else \
            calibrate.designs.parts_of(row["design"], device).brams
        if found != row["brams"]:
            wrong.append((row["design"], row["device"], found, row["brams"]))
    assert not wrong


def test_designs_kept_out_of_the_fit(calibrate):
    rows = calibrate.rows_of()
    found = list(calibrate.compared(rows))
    kept = {row["design"] for row, *_ in found}
    assert not kept & {row["design"] for row in rows if row["use"] == "fit"}
    assert {devices.find(row["device"]).family for row, *_ in found} >= {"ice40", "ecp5", "gowin"}
    wrong = {}
    for row, _, cells, rate, brams in found:
        if not brams or abs(cells or 0) > calibrate.CELLS_LIMIT or abs(rate or 0) > calibrate.RATE_LIMIT:
            wrong[row["design"], row["device"]] = cells, rate, brams
    assert not wrong
    assert sum(cells is not None for _, _, cells, _, _ in found) >= 86
    assert sum(rate is not None for _, _, _, rate, _ in found) >= 13


@pytest.mark.parametrize("device", [UP5K, ECP5, GOWIN], ids=lambda device: device.name)
def test_more_of_anything_costs_more(device):
    stage = dense()
    for memory_kind in ("bram", "lut"):
        base = FoldedOptions(pe=4, simd=8, memory=memory_kind)
        least = estimate.of_stage(stage, base, device)
        for key, value in (("pe", 8), ("simd", 16)):
            assert estimate.of_stage(stage, base.model_copy(update={key: value}), device).luts > least.luts, (memory_kind, key)
    options = FoldedOptions(pe=4, simd=8, memory="bram")
    assert estimate.of_stage(dense(n_out=64), options, device).brams >= estimate.of_stage(stage, options, device).brams
    for bits in (1, 8, 12):
        costs = [estimate.of_fifo(bits, depth, device) for depth in (8, 32, 128, 512, 4096)]
        assert [cost.brams for cost in costs] == sorted(cost.brams for cost in costs)
        assert estimate.of_converter(bits, 4, 4, device) == estimate.Estimate()
        assert estimate.of_converter(bits, 4, 8, device).luts < estimate.of_converter(bits, 4, 16, device).luts


def test_wider_words_of_a_memory_never_take_fewer_blocks():
    for family in memory.CELLS:
        for depth in (64, 256, 300, 1024, 5000):
            blocks = [memory.mapped(family, width, depth, rom=True, style="block").cells
                      for width in (1, 2, 9, 16, 17, 36, 72, 200)]
            assert blocks == sorted(blocks) and blocks[-1] > blocks[0]


@pytest.mark.parametrize("name", models.names())
def test_a_plan_is_the_sum_of_its_elements(name):
    check_the_sum_of(plan_of(name))


@pytest.mark.parametrize("name", ["fashion-lut4", "mnist-lut6"])
def test_bits_that_no_table_reads_are_left_out_of_whole_vectors(name):
    plan = plan_of(name)
    votes = next(stage for stage in plan.stages if stage.kind == "lookup")
    options = plan.options[votes.name].model_copy(update={"lanes": votes.elements_in, "blocks": 0})
    check_the_sum_of(dataclasses.replace(plan, options=plan.options | {votes.name: options}))


def check_the_sum_of(plan):
    whole = estimate.of_plan(plan, UP5K)
    parts = [estimate.of_element(element, plan.options.get(element.name), UP5K) for element in plan.elements]
    lookups = [op for op in plan.network.operations.values() if op.kind == "Lookup"]
    read = len(np.unique(lookups[0].indices)) if lookups else 0
    unread = sum(stage.elements_in - read for stage in plan.stages
                 if stage.kind == "lookup" and plan.options[stage.name].lanes == stage.elements_in)
    design = figures.Parts().add(design=1, up__bit=-2 * unread)      # bits side by side that no table reads
    parts += [estimate.of_ends(plan, UP5K), figures.evaluate(design, UP5K)]
    assert whole.luts == pytest.approx(sum(part.luts for part in parts))
    assert whole.ffs == pytest.approx(sum(part.ffs for part in parts))
    assert whole.brams == sum(part.brams for part in parts)
    assert whole.path_ns >= max(part.path_ns for part in parts)
    assert whole.luts > 100 and whole.fmax_hz == pytest.approx(1e9 / whole.path_ns)


@pytest.mark.parametrize("name", models.names())
def test_every_stage_of_the_shipped_networks_has_an_estimate(name):
    """With its first, its middle and its last options of each style, on each family."""
    network = models.load(name).network
    for stage in lower(network):
        space = list(stage.folding_space())
        for device in (UP5K, ECP5, GOWIN):
            for options in {space[0], space[len(space) // 2], space[-1]}:
                if getattr(options, "fabric", device.family) == device.family:
                    found = estimate.of_stage(stage, options, device)
                    # Block RAMs may hold all of a lookup's input.
                    held = not hasattr(stage, "clusters") or stage.held(options)[1]
                    assert found.luts > 0 and found.path_ns > 0 and (found.ffs > 0 or not held), (stage.name, options)


def test_of_a_wrapper():
    board = boards.find("icebreaker")
    found = estimate.of_wrapper(board, plan_of("mnist-tfc"))
    assert found.luts > 500 and found.brams == 3


def test_it_is_fast():
    network = models.load("fashion-cnn").network
    stages = [stage for stage in lower(network) if isinstance(stage, (DenseStage, ConvStage))]
    space = [(stage, options.model_copy(update={"depth": stage.elements_in}) if isinstance(options, BufferOptions) else options)
             for stage in stages for options in stage.folding_space() if getattr(options, "style", "folded") == "folded"]
    estimate.of_stage(*space[0], UP5K)
    start = time.perf_counter()
    for stage, options in space:
        estimate.of_stage(stage, options, ECP5)
    assert (time.perf_counter() - start) / len(space) < 5e-3       # some 0.2 ms on an idle processor


@pytest.mark.parametrize("name", ["xc7a35t", "xc7a100t", "gw5a-25"])
def test_what_has_no_figures_says_so(name):
    device, message = devices.find(name), f"^device '{name}': there are no estimates for it, as it has not been calibrated"
    with pytest.raises(estimate.EstimateError, match=message):
        estimate.of_stage(dense(), FoldedOptions(pe=1, simd=1, memory="bram"), device)
    with pytest.raises(estimate.EstimateError, match=message):
        estimate.of_plan(plan_of("mnist-tfc"), device)


@pytest.mark.parametrize("name, board", [("mnist-lut4", "icebreaker"), ("fashion-lut4", "icebreaker"), ("mnist-lut4", "hx8k")])
def test_rates_of_tables_are_those_of_the_device(calibrate, name, board):
    """Of whole networks as boards.py routed them, by the usual plan; an HX8K's tables take half of a UP5K's time."""
    rows = json.loads((BENCHMARKS / "results" / "boards.json").read_text())["rows"]
    row = next(row for row in rows if (row["network"], row["board"], row["options"]) == (name, board, ""))
    where, network = boards.find(board), models.load(name).network
    device = devices.find(where.device)
    plan = folding.choose(network, Planner(lower(network), device, where.clock_hz, where, fabric=device.family)).plan
    error = estimate.of_plan(plan, device).fmax_hz / 1e6 / row["fmax_mhz"] - 1
    assert plan.cycles_per_inference == row["cycles_per_image"] and abs(error) < calibrate.RATE_LIMIT, error


@pytest.mark.parametrize("words, numbers, width", [(1, 3, 4), (2, 5, 3), (5, 4, 7), (16, 30, 1), (20, 3, 12)])
def test_bits_of_a_table_that_differ(words, numbers, width):
    """Counted column by column, as text."""
    table = np.random.default_rng(words).integers(0, 2**width, (words, numbers))
    table[:, 0] = np.arange(words) & 1      # a bit of the address, and a number like another
    table[:, -1] = table[:, 1]
    columns = ["".join(str(int(own) >> bit & 1) for own in column) for column in table.T for bit in range(width)]
    changing = [column for column in columns if len(set(column)) > 1]
    address = {"".join(str(word >> bit & 1) for word in range(words)) for bit in range(5)}
    assert _different(table) == (len(changing), len(set(changing) - address))


def test_equal_starts_at_every_border_cost_nothing():
    """Where no padding needs a correction nothing is made of which border a window hangs over."""
    from bnnhw.gateware.mvtu import Codes
    weights = np.random.default_rng(1).choice([-1, 1], (16, 3, 3, 8)).astype(np.int8)
    costs = []
    for starts in ([[0] * 16] * 9, [[k] * 16 for k in range(9)]):
        stage = ConvStage("conv", (), None, weights=weights, result=Codes(starts, 1, 8), reach=[72] * 16, bits=1, image=(12, 12),
                          stride=(1, 1), padding=(1,) * 4, fill=0)
        costs.append(estimate.of_stage(stage, ConvOptions(pe=4, simd=8, memory="bram", depth=64), UP5K).luts)
    assert costs[0] + 10 < costs[1]


def test_the_page_says_how_far_the_rule_for_constants_is_off(calibrate):
    """The cache is empty here: whole networks by the rule of thumb, beside the rows."""
    text, found = " ".join(calibrate.PAGE.read_text().split()), []
    for row in calibrate.rows_of():
        name = row["design"].split()[1]
        if row["design"].startswith("network") and "-lut" in name:
            device = devices.find(row["device"])
            plan = planfile.loads(row["plan"].encode(), models.load(name).network, lower, where=name)
            luts = estimate.of_plan(plan, device).luts
            found.append(name)
            assert f"{name} {luts:,.0f} ({100 * (luts / row['luts'] - 1):+.1f} %" in text
            assert abs(luts / row["luts"] - 1) <= calibrate.CELLS_LIMIT and estimate.of_plan(plan, device).brams == row["brams"]
    assert sorted(found) == ["fashion-lut4", "mnist-lut4", "mnist-lut6", "mnist-lut6-wide"]


def test_tables_without_multiplexers_are_quicker():
    """On ECP5, where a table of six inputs is four cells and what joins them."""
    for name, ns in (("mnist-lut4", 3.7), ("mnist-lut6", 5)):
        stage = next(stage for stage in lower(models.load(name).network) if hasattr(stage, "clusters"))
        options = next(options for options in stage.folding_space() if options.fabric == "ecp5")
        assert estimate.of_stage(stage, options, ECP5).path_ns == pytest.approx(options.depth * ns)


def test_figures_of_constants_are_kept(monkeypatch):
    """The rule of thumb until the circuit has been synthesized; then its figures, found again, and not those of other weights."""
    from bnnhw.estimate import circuits
    options = next(options for options in dense().folding_space() if getattr(options, "fabric", "") == "ice40")
    rule = estimate.of_stage(dense(), options, UP5K)
    monkeypatch.setattr(circuits, "packed", lambda *_: {"luts": 7, "ffs": 3, "brams": 0})
    assert estimate.exact(dense(), options, UP5K).luts == 7
    assert estimate.of_stage(dense(), options, UP5K).luts == 7
    assert estimate.of_stage(dense(seed=1), options, UP5K).luts != 7
    assert estimate.of_stage(dense(), options.model_copy(update={"depth": 5}), UP5K).luts == rule.luts
    monkeypatch.setattr(circuits, "packed", None)       # not made again
    assert estimate.exact(dense(), options, UP5K).luts == 7


def test_figures_of_other_gateware_are_not_found(monkeypatch, tmp_path):
    """What was kept before a circuit changed is not its figures any more; an unchanged one is found by another process."""
    from bnnhw.estimate import circuits
    options = next(options for options in dense().folding_space() if getattr(options, "fabric", "") == "ice40")
    copies = [Path(shutil.copytree(folder, tmp_path / folder.name)) for folder in circuits.SOURCES]
    monkeypatch.setattr(circuits, "SOURCES", copies)

    def found():
        circuits._source.cache_clear()      # as in another process
        return circuits.cached(dense(), options, UP5K)
    try:
        assert found() is None
        circuits.keep(dense(), options, UP5K, estimate.Estimate(7, 3, 0))
        for folder in copies:
            file = sorted(folder.rglob("*.py"))[-1]
            before = file.read_bytes()
            assert found() == estimate.Estimate(7, 3, 0)
            file.write_bytes(before + b"\n")
            assert found() is None, file
            file.write_bytes(before)
    finally:
        circuits._source.cache_clear()


@pytest.mark.parametrize("setting", ["BNNHW_YOSYS", "BNNHW_NEXTPNR_ICE40"])
def test_figures_of_other_tools_are_not_found(monkeypatch, tmp_path, setting):
    from bnnhw.estimate import circuits
    options = next(options for options in dense().folding_space() if getattr(options, "fabric", "") == "ice40")
    program = tmp_path / "program"

    def found():
        tools.find.cache_clear()
        circuits._tools.cache_clear()       # as in another process
        return circuits.cached(dense(), options, UP5K)
    try:
        assert found() is None
        circuits.keep(dense(), options, UP5K, estimate.Estimate(7, 3, 0))
        monkeypatch.setenv(setting, str(program))
        assert found() is None              # it is missing
        for release, known in (("1.1", False), ("1.2", False), ("1.1", True)):
            program.write_text(f"#!/bin/sh\necho release {release}\n")
            program.chmod(0o755)
            assert (found() is not None) == known
            circuits.keep(dense(), options, UP5K, estimate.Estimate(8, 3, 0))
        monkeypatch.delenv(setting)
        assert found() == estimate.Estimate(7, 3, 0)
    finally:
        monkeypatch.delenv(setting, raising=False)
        found()


@pytest.mark.slow
def test_gowin_is_packed_as_it_is_routed(calibrate, tmp_path):
    """A design of few ports, so that it can be routed with all of them: block RAM, LUT RAM, ALUs, flip-flops of their own."""
    line = "dense n_in=256 n_out=16 pe=1 simd=8 memory=bram"
    text, top, _ = calibrate.designs.verilog_of(line, "", GOWIN)
    found = packing.packed(text + calibrate.designs.plain(text, top), calibrate.designs.PLAIN, GOWIN, folder=tmp_path)
    routed = implement.route(tmp_path / f"{calibrate.designs.PLAIN}.json", GOWIN, package=GOWIN.packages[0], constraints=None,
                             clock_hz=50e6, output=tmp_path / "routed", counts=found["counts"])
    assert found["counts"]["ALU"] and found["counts"]["RAM16SDP4"] and found["brams"] == routed.brams == 1
    assert found["ffs"] == routed.ffs and found["luts"] == pytest.approx(routed.luts, rel=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("number", [0, 1])
def test_the_tools_still_say_so(calibrate, number):
    """The least two kept-out designs, synthesized and packed again."""
    rows = [row for row in calibrate.rows_of() if row["use"] == "kept out" and not row["plan"] and not row["fmax_mhz_seed_1"]]
    row = sorted(rows, key=lambda row: row["luts"])[number]
    again = calibrate.measured(row["use"], row["design"], row["device"], False)
    assert again["brams"] == row["brams"] and again["luts"] == pytest.approx(row["luts"], rel=0.03)
    found = calibrate.designs.estimated(row, devices.find(row["device"]))
    assert math.isclose(found.luts, again["luts"], rel_tol=2 * calibrate.CELLS_LIMIT)
    assert found.brams == again["brams"]


def test_rows_say_how_they_were_made(calibrate):
    found = json.loads(calibrate.FILE.read_text())
    assert {"yosys", "nextpnr-ice40", "nextpnr-ecp5", "nextpnr-himbaechel-gowin"} <= found["versions"].keys()
    assert len({(row["design"], row["device"], row["fmax_mhz_seed_1"] is None) for row in found["rows"]}) == len(found["rows"])


@pytest.mark.parametrize("family", ["ice40", "gowin"])
@pytest.mark.parametrize("inputs", [2, 4, 5, 6])
def test_rule_of_thumb_for_a_table_is_its_expansion(family, inputs):
    """Of a table whose parts all differ, as the one that shows a different word for each of them."""
    from bnnhw.baked import tables
    from bnnhw.estimate import whole
    hard = int.from_bytes(np.random.default_rng(5).bytes(8), "little") % (1 << (1 << inputs))
    assert whole._cells_per_table(inputs, family) == tables._shannon(hard, inputs, 4)[0]
    assert whole._cells_per_table(inputs, "ecp5") == max(1, 2 ** inputs // 16)
