# amaranth: UnusedElaboratable=no
"""Lookup tables, votes and tournament in gateware: exact, to the cycle of the model, and as stages in Verilog."""

import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bnnhw import accelerator, baked, devices, estimate, folding, models, netlist, planfile, reference, simulate, verify
from bnnhw.baked import tables as baked_tables
from bnnhw.gateware.gather import Gather
from bnnhw.gateware.lookup import LookupClassUnit, LookupUnit
from bnnhw.ir import Affine, ArgMax, Dense, Flatten, Input, Network, TensorType
from bnnhw.lower import LoweringError, lower
from bnnhw.plan import Plan
from bnnhw.planner.goals import Planner
from bnnhw.planner.tables import candidates
from bnnhw.sparse import GroupSum, Lookup, Thermometer
from bnnhw.stages import FoldingError, LookupClassStage, LookupStage
from bnnhw.stages.clusters import clustered

from . import baked_rig as rig
from .beside import drive
from .circuits import in_amaranth


def random_layers(rng, inputs, sizes, fan_in):
    """Layers as the units take them."""
    layers = []
    for size in sizes:
        k = int(rng.integers(1, fan_in + 1))
        layers.append((rng.integers(0, inputs, (size, k)).tolist(), [int(rng.integers(0, 2**(2**k))) if k < 6 else
                       int(rng.integers(0, 2**62)) for _ in range(size)]))
        inputs = size
    return layers


def counted(x, layers, groups):
    """Counts of vectors ``x`` (N, inputs) of 0 and 1, by plain arithmetic."""
    for indices, tables in layers:
        at = (x[:, np.array(indices)] << np.arange(len(indices[0]))).sum(axis=2)
        x = np.array([[table >> int(t) & 1 for table, t in zip(tables, row, strict=True)] for row in at])
    return x.reshape(len(x), groups, -1).sum(axis=2)


STALLS = st.sampled_from([1.0, 0.6, 0.2])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(inputs=st.integers(1, 12), layered=st.integers(1, 3), groups=st.integers(1, 7), size=st.integers(1, 9),
       fan_in=st.sampled_from([1, 2, 4, 6, 8]), fabric=st.sampled_from(list(baked.FABRICS)), depth=st.integers(1, 4),
       p_valid=STALLS, p_ready=STALLS, decide=st.booleans(), seed=st.integers(0, 999))
def test_units(monkeypatch, inputs, layered, groups, size, fan_in, fabric, depth, p_valid, p_ready, decide, seed):
    in_amaranth(monkeypatch)
    rng, vectors = np.random.default_rng(seed), 9
    layers = random_layers(rng, inputs, [*rng.integers(1, 9, layered - 1), groups * size], fan_in)
    lanes = int(rng.choice([d for d in range(1, inputs + 1) if inputs % d == 0]))
    blocks = lanes * int(rng.integers(0, 2)) if fabric == "ice40" and lanes < inputs else 0
    x = rng.integers(0, 2, (vectors, inputs))
    want = counted(x, layers, groups)
    words, facts = x.reshape(-1, lanes).tolist(), {"layers": layers, "groups": groups}
    own = {"elements": inputs, "inner": ["?"] * layered} | facts
    kind = LookupClassStage("votes", (), "votes", bytes_per_beat=1, **own) if decide else LookupStage("votes", (), "votes", **own)
    options = kind.parse({"kind": kind.kind, "lanes": lanes, "fabric": fabric, "depth": depth, "blocks": blocks})
    dut = kind.build(options)
    got, times = drive(dut, kind.timing(options), words, vectors, p_valid=p_valid, p_ready=p_ready, seed=seed)
    assert [payload.data if decide else list(payload) for payload in got] == (want.argmax(axis=1) if decide else want).tolist()
    if p_valid == p_ready == 1.0:       # latency as the contracts say, then a vector each inputs / lanes cycles
        rounds = (groups - 1).bit_length() if decide else 0
        held = 4 if lanes < inputs and blocks else 3 if lanes < inputs else 0
        latency = kind.made(fabric, depth).circuit.latency
        assert times[-1] == len(words) + latency + rounds + held


def test_only_used_elements_are_kept():
    gather = Gather(12, 3, [[7, 5, 3, 0]])
    assert gather.lengths == [2, 1, 1] and gather.blocks == 0 and not gather.cells
    assert gather.place == {0: (0, 0), 3: (0, 1), 7: (1, 0), 5: (2, 0)}


def test_clusters_have_shift_registers_of_their_own():
    gather = Gather(12, 2, [[7, 4, 2], [11], [8, 9]])
    assert (gather.chains, gather.lengths) == (3, [2, 0, 1, 1, 1, 1])
    assert gather.place == {2: (0, 0), 4: (0, 1), 8: (2, 0), 7: (3, 0), 11: (4, 0), 9: (5, 0)}
    many = Gather(40, 1, [[k] for k in range(20)])
    assert (many.chains, many.lengths) == (4, [5, 5, 5, 5])
    assert Gather(40, 1, [[k] for k in range(20)], blocks=1).lengths == [4]


def test_block_rams_come_first_in_the_order_that_is_given():
    order = [*range(48, 0, -4), *range(49, 33, -2)]
    gather = Gather(50, 1, [order[:12], order[12:]], blocks=1)
    assert (gather.blocks, gather.lengths) == (1, [4])
    assert gather.cells == {element: k for k, element in enumerate(order[:16])}
    assert gather.place == {element: (0, k) for k, element in enumerate(sorted(order[16:]))}
    assert Gather(50, 2, [[1, 2, 3]], blocks=8).blocks == 2


@pytest.mark.parametrize("scores", [False, True])
def test_plan_file(scores):
    plan = folding.fold(network(1), lower(network(1), scores=scores), clock_hz=60_000_000, fabric="ice40")
    again = planfile.loads(planfile.dumps(plan), network(1), lower)
    assert again.options == plan.options and again.scores == plan.scores == scores
    assert [stage.kind for stage in again.stages] == [stage.kind for stage in plan.stages]


def test_what_holds_the_input():
    """10 bits of the table for each pixel where there are block RAMs, else one for each shift register; small ones are logic."""
    stage = LookupClassStage("votes", (), "votes", bytes_per_beat=1, elements=784, inner=["?"], groups=1,
                             layers=[([[i] for i in range(400)], [1] * 400)])
    def held(**options):
        return stage.held(stage.parse({"kind": stage.kind, "fabric": "ice40", "depth": 1} | options))
    assert held(lanes=784) == (0, 0, [])
    assert held(lanes=1, blocks=24) == (24, 75, [(11, 784)])        # the shift register twice, what writes
    assert held(lanes=1) == (0, 406, [(4, 784)])
    assert Gather(784, 1, [list(range(384))], blocks=24).memories == [(10, 784)]
    assert Gather(784, 1, [list(range(384))]).memories == [(1, 784)]
    assert Gather(20, 1, [[3, 4]], blocks=1).memories == []
    asked = {"kind": stage.kind, "fabric": "ice40", "depth": 1, "lanes": 1, "blocks": 24}
    assert estimate.of_stage(stage, stage.parse(asked), devices.find("up5k")).brams == 24 + 3
    # Several levels a pixel: five memories of 512 words stand side by side in seven block RAMs, which no one shape of them does.
    stage = LookupClassStage("votes", (), "votes", bytes_per_beat=1, elements=2352, inner=["?"], groups=1,
                             layers=[([[i] for i in range(320)], [1] * 320)])
    assert held(lanes=1, blocks=24) == (20, 38, [(10, 2352)])
    assert estimate.of_stage(stage, stage.parse(asked), devices.find("up5k")).brams == 20 + 7


@pytest.mark.parametrize("clock_hz, depth", [(10e6, 3), (41e6, 3), (60e6, 2), (120e6, 1), (200e6, 1)])
def test_depth_follows_the_clock(clock_hz, depth):
    stage = next(stage for stage in lower(network(1)) if hasattr(stage, "clusters"))
    own = list(candidates(stage, "ice40", clock_hz))
    assert own and {(options.fabric, options.depth) for options in own} == {("ice40", depth)}


@pytest.mark.parametrize("name", ["mnist-lut6-wide", "fashion-lut4"])
def test_an_ecp5_gathers_inputs_where_they_come(name):
    """As a board builds them: no whole vector is put together in front of the tables, whose wires an ECP5 lacks."""
    network = models.load(name).network
    planner = Planner(lower(network), devices.find("ecp5-25f"), 60e6, fabric="ecp5")
    plan = folding.choose(network, planner).plan
    assert all(element.stage is not None for element in plan.elements)
    assert 1 < plan.cycles_per_inference < 784


def test_inputs_that_reach_one_neuron_are_neighbours():
    tables = [0] * 9
    first = [[0, 9], [2, 4], [9, 7], [4, 6], [8, 8]]
    assert clustered([(first, tables)]) == [[0, 7, 9], [2, 4, 6], [8]]
    assert clustered([(first, tables), ([[0, 4], [1, 3]], tables)]) == [[0, 7, 8, 9], [2, 4, 6]]
    three = [(first, tables), ([[0, 0], [1, 3], [4, 4]], tables), ([[0, 1], [2, 2]], tables)]
    assert clustered(three) == [[0, 2, 4, 6, 7, 9], [8]]


@pytest.mark.parametrize("change, message", [
    ({"lanes": 3}, "lanes must divide 4, not 3"), ({"lanes": "2"}, "lanes must be a positive integer, not '2'"),
    ({"lanes": 2, "blocks": 1}, "blocks must be a multiple of the 2 lanes, not 1"),
])
def test_wrong_parameters(change, message):
    made = baked_tables.tables(4, [([[0]] * 4, [1] * 4)], 2, "ice40", depth=1)
    facts = {"layers": [4], "clusters": [[0]], "lanes": 2} | change
    for kind in (lambda **own: LookupUnit("x", made, **own), lambda **own: LookupClassUnit("x", made, width=8, **own)):
        with pytest.raises((TypeError, ValueError), match=message):
            kind(**facts)


def network(seed, inputs=20, sizes=(30, 20), fan_in=4, groups=5, extra=(), levels=(64,), shape=None):
    """Pixels, signs, tables, votes, class."""
    rng = np.random.default_rng(seed)
    operations = [Input("image", TensorType(shape or (inputs,), 0, 255)), Thermometer("bits", "image", levels)]
    edge, size = "bits", inputs
    if shape:
        operations.append(Flatten("flat", "bits"))
        edge = "flat"
    for k, n in enumerate(sizes):
        operations.append(Lookup(f"lut{k}", edge, rng.integers(0, size, (n, fan_in)), rng.choice([-1, 1], (n, 2**fan_in))))
        edge, size = f"lut{k}", n
    operations += [GroupSum("votes", edge, groups), *extra]
    return Network([*operations, ArgMax("class", extra[-1].name if extra else "votes")], "class")


CASES = {
    "one lane": (network(0), {}, 1), "all lanes": (network(1), {}, 20), "some lanes": (network(2), {}, 4),
    "scores": (network(3), {"scores": True}, 5),
    "offsets": (network(4, extra=[Affine("bias", "votes", [1] * 5, [3, 0, 2, 0, 1])]), {}, 2),
    "map": (network(5, inputs=24, shape=(4, 3, 2)), {}, 3), "one class": (network(6, groups=1), {}, 20),
    "levels of their own": (network(7, levels=np.arange(0, 200, 10)[:, None]), {}, 1),
    "six inputs": (network(8, sizes=(40,), fan_in=6, groups=4), {}, 10),
}


def folded(found, stages, lanes, fabric, blocks):
    plan = folding.fold(found, stages, clock_hz=1_000_000, fps=1)
    votes = next(stage for stage in stages if isinstance(stage, LookupStage))
    first = stages[0].parse({"kind": stages[0].kind, "lanes": lanes})
    own = votes.parse({"kind": votes.kind, "lanes": lanes, "fabric": fabric, "depth": 2, "blocks": blocks})
    return Plan(found, stages, plan.options | {votes.name: own, stages[0].name: first}, 1_000_000)


@pytest.mark.parametrize("case", CASES)
def test_in_verilog(case):
    found, settings, lanes = CASES[case]
    stages = lower(found, **settings)
    plan = folded(found, stages, lanes, "ice40", lanes * (lanes < 3))
    x = np.random.default_rng(1).integers(0, 256, (200, *found.types["image"].shape))
    text = accelerator.verilog(plan)
    done = simulate.check(plan, text, x)
    assert done.mismatches == []
    verify.check_timing(plan, done.result)
    assert {"lut0", *(("votes",) if case != "one class" else ())} <= set(done.result.edges)
    assert simulate.check(plan, text, x, p_valid=0.7, p_ready=0.4).mismatches == []


@pytest.mark.parametrize("fabric, blocks", [("ice40", 2), ("ice40", 0), ("ecp5", 0)])
def test_in_cells(fabric, blocks):
    """The fabric's cells, block RAMs among them, give the same classes; one changed table does not."""
    found = network(9, inputs=72, sizes=(60, 30), fan_in=6)
    plan = folded(found, lower(found), 2, fabric, blocks)
    x = np.random.default_rng(1).integers(0, 256, (100, 72))
    want, device = reference.run(found, x)["class"], devices.find({"ice40": "up5k", "ecp5": "ecp5-25f"}[fabric])
    cells = accelerator.verilog(plan, cells=True)
    assert ("SB_RAM40_4K" in cells) == bool(blocks)
    assert np.array_equal(netlist.run(plan, cells, x, device).beats[:, 0], want)
    assert np.array_equal(netlist.run(plan, cells, x, device, p_valid=0.5, p_ready=0.5).beats[:, 0], want)
    kind, init = {"ice40": ("SB_LUT4", "LUT_INIT"), "ecp5": ("L6MUX21", None)}[fabric]
    assert kind in cells
    if init:
        at = cells.index(init) + len(f"{init}(16'h")
        wrong = cells[:at] + f"{0xffff ^ int(cells[at:at + 4], 16):04x}" + cells[at + 4:]
        assert not np.array_equal(netlist.run(plan, wrong, x, device).beats[:, 0], want)


@pytest.mark.parametrize("fabric, fan_in, of_a_table", [
    ("ice40", 4, {"SB_LUT4": 1}), ("ice40", 6, {"SB_LUT4": 4 + 3}), ("gowin", 4, {"LUT": 1}), ("gowin", 5, {"LUT": 2 + 1}),
    ("ecp5", 4, {"LUT": 1}), ("ecp5", 6, {"LUT": 4, "PFUMX": 2, "L6MUX21": 1}),
    ("ecp5", 7, {"LUT": 8 + 1, "PFUMX": 4, "L6MUX21": 2}), ("xc7", 6, {"LUT": 1}), ("xc7", 8, {"LUT": 4 + 3})])
def test_cells_of_a_table(fabric, fan_in, of_a_table, tmp_path):
    """Before synthesis and after it, each neuron that is used is one cell of the fabric, or its Shannon expansion."""
    rng = np.random.default_rng(0)
    layers = [([rng.permutation(inputs)[:fan_in].tolist() for _ in range(size)],
               [int.from_bytes(rng.bytes(2**fan_in // 8), "little") for _ in range(size)]) for inputs, size in ((9, 14), (14, 9))]
    neurons = len({index for wires in layers[1][0] for index in wires}) + 9
    made = baked_tables.tables(9, layers, 9, fabric, depth=3)      # groups of one neuron need no cells to count votes
    text = made.verilog("m")
    netlist = rig.synthesized({"m": (made.circuit.only(9), text)}, fabric, tmp_path)
    for cells in (text, netlist):
        kinds = re.findall(r"^  (\w+) (?:#\((?:.*|\n(?:    .*\n)*  )\) )?(?:\\i_m\.)?u\d+ *\(", cells, re.M)
        found = Counter(re.sub(r"^LUT\d$", "LUT", kind) for kind in kinds if not re.search("FF|FDRE", kind))
        assert found == {kind: neurons * count for kind, count in of_a_table.items()}


def test_a_wrong_table_is_named():
    """One bit of one table of the hardware is another: the layer and its neuron are said."""
    right = network(0)
    lut = right.operations["lut0"]
    tables = lut.tables.copy()
    tables[7] = -tables[7]
    wrong = Network([Lookup("lut0", lut.inputs[0], lut.indices, tables) if op.name == "lut0" else op
                     for op in right.operations.values()], "class")
    plan = folding.fold(wrong, lower(wrong), clock_hz=1_000_000, fps=1)
    x = np.random.default_rng(1).integers(0, 256, (20, 20))
    result = simulate.check(plan, accelerator.verilog(plan), x).result
    first = simulate.compare(right, x, result)[0]
    assert (first.layer, first.edge, first.channel) == ("class", "lut0", (7,))
    assert reference.run(wrong, x)["class"].shape == (20,)


@pytest.mark.parametrize("made, message", [
    (Network([Input("x", TensorType((4,), -1, 1, 2)), GroupSum("votes", "x", 2), ArgMax("class", "votes")], "class"),
     "operation 'votes': there is hardware for votes behind a Lookup only"),
    (Network([Input("x", TensorType((4,), -1, 1, 2)), Lookup("t", "x", [[0], [1]], [[1, -1], [1, -1]]),
              Dense("fc", "t", [[1, 1], [1, -1]]), ArgMax("class", "fc")], "class"),
     "operation 't': what alone takes a Lookup must be another one, or a GroupSum"),
])
def test_what_has_no_hardware(made, message):
    with pytest.raises(LoweringError, match=message):
        lower(made)


def test_wrong_options():
    stage = lower(network(0))[1]
    right = {"kind": "lookup-class", "lanes": 4, "fabric": "ice40", "depth": 2}
    for change, message in (
            ({"lanes": 3}, r"layer 'class': lanes must be one of \[1, 2, 4, 5, 10, 20\], not 3"),
            ({"fabric": "virtex"}, r"layer 'class': fabric must be one of \['ice40', 'ecp5', 'gowin', 'xc7'\], not 'virtex'"),
            ({"depth": 0}, "layer 'class': depth must be at least 1, not 0"),
            ({"blocks": 6}, "a multiple of its 4 lanes, not 6"),
            ({"fabric": "ecp5", "blocks": 4}, "blocks must be 0 or, where an iCE40")):
        with pytest.raises(FoldingError, match=message):
            stage.parse(right | change)
