# amaranth: UnusedElaboratable=no
"""Lookup tables, votes and tournament in gateware: exact, to the cycle of the model, and as stages in Verilog."""
import random

import numpy as np
import pytest
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import accelerator, folding, reference, simulate, verify
from bnnhw.gateware.lookup import Gather, LookupClassUnit, LookupUnit, vote_levels
from bnnhw.ir import Affine, ArgMax, Dense, Flatten, Input, Network, TensorType
from bnnhw.lower import LoweringError, lower
from bnnhw.plan import Plan
from bnnhw.sparse import GroupSum, Lookup, Thermometer
from bnnhw.stages import FoldingError, LookupClassStage, LookupStage


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


def drive(dut, model, words, count, p_valid, p_ready, seed, taken):
    """Send ``words``, collect ``count`` results, the model beside it in every cycle; also the cycles that it took."""
    found, cycles = [], 0

    async def compare(ctx):
        nonlocal cycles
        rng, offered, sent = random.Random(seed), False, 0
        while len(found) < count:
            assert cycles < 20_000, f"{len(found)} of {count}"
            offered = sent < len(words) and (offered or rng.random() < p_valid)
            taking = rng.random() < p_ready
            ctx.set(dut.i.valid, offered)
            if offered:
                ctx.set(dut.i.payload, words[sent])
            ctx.set(dut.o.ready, taking)
            assert (ctx.get(dut.i.ready), ctx.get(dut.o.valid)) == (model.ready, model.valid), f"cycle {cycles}"
            push, pop = offered and model.ready, model.valid and taking
            if pop:
                found.append(taken(ctx))
            model.step(push, pop)
            sent, offered = sent + push, offered and not push
            cycles += 1
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-6)
    sim.add_testbench(compare)
    sim.run()
    return found, cycles


STALLS = st.sampled_from([1.0, 0.6, 0.2])


@settings(max_examples=60, deadline=None)
@given(inputs=st.integers(1, 12), depth=st.integers(1, 3), groups=st.integers(1, 7), size=st.integers(1, 9),
       fan_in=st.sampled_from([1, 2, 4, 6]), p_valid=STALLS, p_ready=STALLS, decide=st.booleans(), seed=st.integers(0, 999))
def test_units(inputs, depth, groups, size, fan_in, p_valid, p_ready, decide, seed):
    rng, vectors = np.random.default_rng(seed), 9
    layers = random_layers(rng, inputs, [*rng.integers(1, 9, depth - 1), groups * size], fan_in)
    lanes = int(rng.choice([d for d in range(1, inputs + 1) if inputs % d == 0]))
    stages = int(rng.integers(1, max(1, vote_levels(size)) + 1))
    x = rng.integers(0, 2, (vectors, inputs))
    want = counted(x, layers, groups)
    words, facts = x.reshape(-1, lanes).tolist(), {"layers": layers, "groups": groups}
    own = {"elements": inputs, "inner": ["?"] * depth} | facts
    kind = LookupClassStage("votes", (), "votes", bytes_per_beat=1, **own) if decide else LookupStage("votes", (), "votes", **own)
    options = kind.parse({"kind": kind.kind, "lanes": lanes, "stages": stages})
    dut = kind.build(options)
    got, cycles = drive(dut, kind.timing(options), words, vectors, p_valid, p_ready, seed,
                        lambda ctx: ctx.get(dut.o.p.data) if decide else list(ctx.get(dut.o.p)))
    assert got == (want.argmax(axis=1) if decide else want).tolist()
    if p_valid == p_ready == 1.0:       # latency as the contracts say, then a vector each inputs / lanes cycles
        rounds = max(1, (groups - 1).bit_length()) if decide else 0
        assert cycles == len(words) + depth + stages + rounds + 2 * (lanes < inputs)


def test_only_used_elements_are_kept():
    gather = Gather(12, 3, {0, 3, 5, 7})
    assert gather.enables == [0b001, 0b101, 0b010, 0b000]
    assert gather.lengths == [2, 1, 1]
    assert gather.place == {0: (0, 0), 3: (0, 1), 7: (1, 0), 5: (2, 0)}


@pytest.mark.parametrize("change, message", [
    ({"inputs": 0}, "inputs must be a positive integer, not 0"), ({"lanes": 3}, "lanes must divide 4, not 3"),
    ({"groups": 3}, "groups must divide 4, not 3"), ({"layers": []}, "there must be at least one layer of tables"),
    ({"stages": "2"}, "stages must be a positive integer, not '2'"),
])
def test_wrong_parameters(change, message):
    facts = {"inputs": 4, "layers": [([[0]] * 4, [1] * 4)], "groups": 2, "lanes": 2, "stages": 1} | change
    for kind in (lambda **own: LookupUnit(**own), lambda **own: LookupClassUnit(width=8, **own)):
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


@pytest.mark.parametrize("case", CASES)
def test_in_verilog(case):
    found, settings, lanes = CASES[case]
    stages = lower(found, **settings)
    plan = folding.fold(found, stages, clock_hz=1_000_000, fps=1)
    votes = next(stage for stage in stages if isinstance(stage, LookupStage))
    first = stages[0].parse({"kind": stages[0].kind, "lanes": lanes})
    options = plan.options | {votes.name: votes.parse({"kind": votes.kind, "lanes": lanes, "stages": 2}), stages[0].name: first}
    plan = Plan(found, stages, options, 1_000_000)
    x = np.random.default_rng(1).integers(0, 256, (200, *found.types["image"].shape))
    text = accelerator.verilog(plan)
    done = simulate.check(plan, text, x)
    assert done.mismatches == []
    verify.check_timing(plan, done.result)
    assert {"lut0", *(("votes",) if case != "one class" else ())} <= set(done.result.edges)
    assert simulate.check(plan, text, x, p_valid=0.7, p_ready=0.4).mismatches == []


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
    with pytest.raises(FoldingError, match=r"layer 'class': lanes must be one of \[1, 2, 4, 5, 10, 20\], not 3"):
        stage.parse({"kind": "lookup-class", "lanes": 3, "stages": 1})
    with pytest.raises(FoldingError, match=r"layer 'class': stages must be one of \[1, 2, 3\], not 9"):
        stage.parse({"kind": "lookup-class", "lanes": 4, "stages": 9})
