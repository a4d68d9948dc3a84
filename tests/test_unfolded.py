# amaranth: UnusedElaboratable=no
"""Unfolded dense layers: each stage against integer arithmetic and its timing model in every cycle; networks, to the netlist."""
import re
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.back import verilog

from bnnhw import accelerator, baked, bitstream, devices, folding, implement, netlist
from bnnhw.compare import compare
from bnnhw.estimate import whole
from bnnhw.gateware.mvtu import Codes, Signs
from bnnhw.gateware.streams import landing_capacity
from bnnhw.lower import lower
from bnnhw.plan import Plan, PlanError
from bnnhw.simulator import Simulator, encode
from bnnhw.stages import DenseStage, FoldingError, timing
from bnnhw.stages.dense import UnfoldedOptions

from . import baked_rig, networks

CYCLES = 600
CHANCES = (0.15, 0.5, 0.9, 1.0)     # that a word is offered, or taken, in a cycle; they change every few cycles
WRAPPER = """
module {name}(input clk, input en, input [{x}:0] x, output [{y}:0] y);
  wire gated = clk & en;
  {name}_stage stage(.clk(gated), .rst(1'b0), .i__payload(x[{x}:2]), .i__valid(x[1]), .o__ready(x[0]),
                     .i__ready(y[0]), .o__valid(y[1]), .o__payload(y[{y}:2]));
endmodule
"""


def stage_of(n_out, n_in, *, signs, ternary=False, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.choice([-1, 0, 1] if ternary else [-1, 1], (n_out, n_in)).astype(np.int8)
    reach = np.abs(weights.astype(int)).sum(axis=1)
    if signs:
        thresholds = np.clip(reach // 2 + rng.integers(-2, 3, n_out), 0, reach + 1)
        thresholds[:2] = [0, reach[-1] + 1][:n_out]                              # always; never, where it is the last one
        result = Signs([thresholds.tolist()])
    else:
        scale, offsets = int(rng.integers(1, 4)), rng.integers(0, 9, n_out)
        result = Codes([offsets.tolist()], scale, int((offsets + scale * reach).max()).bit_length())
    return DenseStage(f"s{seed}", [], None, weights=weights, bits=1, result=result, reach=reach.tolist())


def expected(stage, x):
    """Results for bits (vectors, n_in), by sums of products."""
    weights = stage.weights.astype(int)
    counts = ((2 * x.astype(int) - 1) @ weights.T + np.abs(weights).sum(axis=1)) // 2
    if isinstance(stage.result, Signs):
        return (counts >= np.array(stage.result.thresholds[0])).astype(int)
    return np.array(stage.result.offsets[0]) + stage.result.scale * counts


class Case:
    """A stage's Verilog between stalls that its timing model foretells: ``x`` and ``wanted`` are (bits, cycles), as
    :mod:`.baked_rig` takes them."""
    def __init__(self, stage, options, *, change=lambda text: text, model=None):
        self.stage, self.options = stage, options
        component, made = stage.build(options), stage.made(options)
        text = verilog.convert(component, name="NAME_stage", emit_src=False) + made.plain("NAME_circuit")
        self.text = change(text.replace(f"bnnhw_circuit_{stage.name} ", "NAME_circuit "))
        self._run(model or stage.timing(options))

    def _run(self, model):
        rng, width = np.random.default_rng(1), self.stage.elements_out * self.stage.bits_out
        vectors = rng.integers(0, 2, (CYCLES, self.stage.elements_in))
        results = expected(self.stage, vectors)
        bits = (results[:, :, None] >> np.arange(self.stage.bits_out) & 1).reshape(CYCLES, width)
        sent, given, offered, rows, wanted, mask = 0, 0, False, [], [], []
        for cycle in range(CYCLES):
            if cycle % 40 == 0:
                p_valid, p_ready = rng.choice(CHANCES, 2).tolist()
            offered, taking = offered or rng.random() < p_valid, rng.random() < p_ready
            rows.append([taking, offered, *(vectors[sent] if offered else rng.integers(0, 2, self.stage.elements_in))])
            push, pop = offered and model.ready, model.valid and taking
            if push or pop or not model.idle:
                model.step(push, pop)
            offered, sent, given = offered and not push, sent + push, given + pop
            wanted.append([model.ready, model.valid, *(bits[given] if model.valid else bits[0])])
            mask.append([True, True, *([model.valid] * width)])
        assert given > CYCLES // 4
        self.x = np.array(rows, np.uint8).T
        self.wanted, self.mask = np.array(wanted, np.uint8).T, np.array(mask).T
        self.shape = SimpleNamespace(n_in=len(self.x), outputs=range(2 + width), latency=1)

    def equal(self, y):
        return not ((y ^ self.wanted) & self.mask).any()


def run(cases):
    """Whether each case's Verilog did what was wanted, in every cycle: dict by name."""
    circuits = {name: (case.shape, None) for name, case in cases.items()}
    source = "".join(case.text.replace("NAME", name) + WRAPPER.format(name=name, x=len(case.x) - 1, y=len(case.wanted) - 1)
                     for name, case in cases.items())
    y = baked_rig.run(circuits, {name: case.x for name, case in cases.items()}, source + baked_rig.joined(circuits))
    return {name: case.equal(y[name]) for name, case in cases.items()}


SHAPES = [(1, 1, False), (1, 5, True), (3, 1, False), (7, 13, True), (10, 33, False), (9, 64, False)]


def test_stages():
    """Vectors at random paces, all fabrics, depths and blocks: values, and valid and ready in every cycle."""
    cases, fabrics = {}, list(baked.FABRICS)
    for k, (n_out, n_in, ternary) in enumerate(SHAPES):
        for signs in (False, True):
            stage, at = stage_of(n_out, n_in, signs=signs, ternary=ternary, seed=k), len(cases)
            cases[f"case{at}"] = Case(stage, UnfoldedOptions(fabric=fabrics[at % 4], depth=(1, 2, 5)[at % 3],
                                                                blocks=(1, 2, 1, 4, 3)[at % 5]))
    blocks = [case.stage.made(case.options).circuit.blocks for case in cases.values()]
    assert blocks.count(1) >= 4 and sum(count > 1 for count in blocks) >= 4
    assert {name for name, good in run(cases).items() if not good} == set()


def test_mutations_are_seen():
    """Registers that ignore the enable, one that is missing, a wrong table, a model that is a cycle off."""
    stage, options = stage_of(7, 21, signs=True, seed=3), UnfoldedOptions(fabric="ice40", depth=2)
    latency = stage.made(options).circuit.latency
    assert latency > 1

    def registers(text):
        return re.sub(r"if \(en\) (t\d+) <=", r"\1 <=", text)

    def short(text):
        return re.sub(r"reg (t\d+); always @\(posedge clk\) if \(en\) \1 <= (.*?);", r"wire \1 = \2;", text, count=1)

    def table(text):
        place = text.index("NAME_circuit (input")
        return text[:place] + text[place:].replace(" & ", " | ", 1)

    def valid(text):
        return text.replace("valid0 <=", "valid0 <= 1'b1 |", 1)
    changes = {f"wrong_{change.__name__}": change for change in (registers, short, table, valid)}
    cases = {name: Case(stage, options, change=change) for name, change in changes.items()}
    assert all("NAME" in case.text and case.text != Case(stage, options).text for case in cases.values())
    for name, change in (("early", -1), ("late", 1)):
        cases[name] = Case(stage, options, model=type(stage.timing(options))(latency + change))
    assert run(cases | {"good": Case(stage, options)}) == dict.fromkeys(cases, False) | {"good": True}


@pytest.mark.parametrize("latency", [1, 2, 5, 6, 13, 14, 30])
def test_a_vector_per_cycle(latency):
    """Room behind a pipeline that never stops is a power of two, and enough; a word less than latency and three is not."""
    def full_rate(capacity):
        model = timing.Running(latency, capacity)
        for _ in range(200):
            if not model.ready:
                return False
            model.step(True, model.valid)
        return True
    capacity = landing_capacity(latency)
    assert capacity.bit_count() == 1 and full_rate(capacity)
    assert full_rate(latency + 3) and not full_rate(latency + 2)


def test_mutations_of_blocks_are_seen():
    """A pipeline that never stops: models of room for one vector more or less, of a cycle more or less."""
    stage, options = stage_of(9, 40, signs=False, seed=4), UnfoldedOptions(fabric="ecp5", depth=2, blocks=2)
    circuit = stage.made(options).circuit
    capacity = landing_capacity(circuit.latency)
    assert circuit.blocks == 2 and capacity >= circuit.latency + 3
    cases = {name: Case(stage, options, model=timing.Running(*model)) for name, model in (
        ("early", (circuit.latency - 1, capacity)), ("late", (circuit.latency + 1, capacity)),
        ("fewer", (circuit.latency, capacity - 1)), ("more", (circuit.latency, capacity + 1)))}
    assert run(cases | {"good": Case(stage, options)}) == dict.fromkeys(cases, False) | {"good": True}


NETWORK = networks.dense_network((24, 17, 4), (8, 8, 1), affine=True, seed=2, spread=12)


def unfolded(fabric, depth=2, blocks=1):
    """A plan with all dense layers unfolded, but for their input a value per cycle."""
    stages = lower(NETWORK, scores=True)
    options = folding.fold(NETWORK, stages, clock_hz=100_000, fps=1000).options
    own = {name: UnfoldedOptions(fabric=fabric, depth=depth, blocks=blocks) for name in options if name.startswith("fc")}
    return Plan(NETWORK, stages, options | own, 100_000)


@pytest.mark.parametrize("blocks", [1, 3])
def test_network(blocks):
    plan, x = unfolded("xc7", 1, blocks), networks.images(NETWORK, 150)
    text = accelerator.verilog(plan)
    assert accelerator.verilog(unfolded("xc7", 1, blocks)) == text and ("landing" in text) == (blocks > 1)
    simulator = Simulator.of_plan(plan, text, taps=accelerator.taps(plan), optimize="-O0")
    for p_valid, p_ready in ((1.0, 1.0), (0.7, 0.1)):
        result = simulator.run(encode(NETWORK, x), taps=True, p_valid=p_valid, p_ready=p_ready, seed=3)
        assert compare(NETWORK, x, result) == []
        assert {"act1", "act2", "fc3"} < set(result.edges)
        if p_valid == 1.0:
            assert (result.interval, result.latency) == (plan.cycles_per_inference, plan.latency_cycles)


@pytest.mark.parametrize("name, blocks", [("up5k", 1), ("ecp5-25f", 2)])
def test_netlist(name, blocks, tmp_path):
    device = devices.find(name)
    plan, x, source = unfolded(device.family, 2, blocks), networks.images(NETWORK, 80), tmp_path / "cells.v"
    source.write_text(accelerator.verilog(plan, cells=True))
    implement.synthesize([source], accelerator.TOP, device, netlist=tmp_path / "n.json", part=accelerator.TOP,
                         part_verilog=tmp_path / "netlist.v")
    text, cells = source.read_text(), (tmp_path / "netlist.v").read_text()
    result = netlist.run(plan, cells, x, device, p_valid=0.8, p_ready=0.3, seed=1)
    assert compare(NETWORK, x, result) == []
    bitstream._check_circuits(text, cells, ["fc2"])
    circuit = text[text.index("module bnnhw_circuit_fc2 "):]
    table = re.search(r" (u\d+) \(.*// table$", circuit, re.M)[1]
    half = re.sub(r"(\\core\.fc2\.circuit\.)u(\d*[13579]) ", r"\1abc$\2 ", cells)     # half of them mapped anew
    with pytest.raises(implement.ImplementError, match=r"^layer 'fc2': its circuit was emitted as \d+ cells, of which "):
        bitstream._check_circuits(text, half, [])
    lost = cells.replace(f"\\core.fc2.circuit.{table} ", "\\core.fc2.circuit.abc$1 ")
    assert lost != cells
    bitstream._check_circuits(text, lost, ["fc1"])
    with pytest.raises(implement.ImplementError, match=r"^layer 'fc2': 1 of its \d+ tables are not in the netlist: "):
        bitstream._check_circuits(text, lost, ["fc2"])


def styles(fps, **given):
    network = networks.dense_network([64, 64, 64, 10], (28, 28, 1))
    plan = folding.fold(network, lower(network), clock_hz=24_000_000, fps=fps, **given)
    return [getattr(plan.options[f"fc{k}"], "style", None) for k in (1, 2, 3, 4)]


def test_choice(monkeypatch):
    """Where few cycles are left, constants are cheaper; no circuit is built to find that out."""
    asked = []
    monkeypatch.setattr(DenseStage, "made", lambda stage, options: asked.append((stage.name, options.depth)) or NOTHING)
    assert styles(100_000, fabric="ice40") == ["folded"] * 4
    assert styles(1_000_000, fabric=None) == ["folded"] * 4 and not asked
    for fabric, first, depth in (("ice40", 5, 5), ("ecp5", 5, 8)):      # the first in blocks on an ECP5
        assert styles(24_000_000, fabric=fabric) == ["unfolded"] * 4
        assert set(asked) == {("fc1", first), *((f"fc{k}", depth) for k in (2, 3, 4))}
        asked.clear()


NOTHING = SimpleNamespace(circuit=SimpleNamespace(latency=1, blocks=1))


@pytest.mark.parametrize("fabric, n_out, n_in", [("ice40", 64, 64), ("ecp5", 16, 64), ("gowin", 16, 64), ("xc7", 32, 128)])
def test_estimate(fabric, n_out, n_in):
    stage, options = stage_of(n_out, n_in, signs=True), UnfoldedOptions(fabric=fabric)
    estimated = whole.CELLS_PER_WEIGHT[fabric] * n_in * n_out / n_in ** 0.25
    assert estimated == pytest.approx(stage.made(options).cells, rel=0.15)


def test_other_fabric():
    folding.check_fabric(unfolded("ice40"), devices.find("hx8k"))
    with pytest.raises(PlanError, match="^layer 'fc1': it is of cells of fabric 'ice40', but ecp5-85f is of 'ecp5': change its "):
        folding.check_fabric(unfolded("ice40"), devices.find("ecp5-85f"))


@pytest.mark.parametrize("table, message", [
    ({"fabric": "stratix"}, r"layer 's0': fabric must be one of \['ice40', 'ecp5', 'gowin', 'xc7'\], not 'stratix'"),
    ({"fabric": "ice40", "depth": 0}, "layer 's0': depth must be at least 1, not 0"),
    ({"fabric": "ice40", "blocks": 0}, "layer 's0': blocks must be 1 to 2, not 0"),
    ({"fabric": "ice40", "blocks": 3}, "layer 's0': blocks must be 1 to 2, not 3"),
])
def test_wrong_options(table, message):
    with pytest.raises(FoldingError, match=f"^{message}$"):
        stage_of(2, 3, signs=True).parse({"kind": "dense", "style": "unfolded"} | table)


def test_only_signs():
    stage = DenseStage("fc", [], None, weights=np.ones((2, 3), np.int8), bits=2, result=Signs([[1, 1]]), reach=[9, 9])
    with pytest.raises(FoldingError, match="^layer 'fc': style must be 'folded': only a layer of signs can be unfolded$"):
        stage.parse({"kind": "dense", "style": "unfolded", "fabric": "ice40"})
