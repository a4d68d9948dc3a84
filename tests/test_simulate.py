# amaranth: UnusedElaboratable=no
"""The Verilog in Verilator against the golden model, and that each way of breaking it is found and named."""
import re

import numpy as np
import pytest
from amaranth.back import verilog as amaranth_verilog

from bnnhw import accelerator, folding, reference, simulate
from bnnhw.compare import compare
from bnnhw.ir import ArgMax, Dense, Flatten, Input, Network, TensorType, Threshold
from bnnhw.lower import lower
from bnnhw.simulator import HangError, ProtocolError, Simulator, encode

from . import axi_cores, networks


def planned(network, scores=True, budget=24):
    return folding.fold(network, lower(network, scores=scores), clock_hz=budget * 1000, fps=1000)


@pytest.fixture(scope="module")
def small():
    """(network, plan, Verilog, images) of a network with every kind of stage."""
    network = networks.dense_network((9, 6, 5), affine=True, seed=3)
    plan = planned(network)
    return network, plan, accelerator.verilog(plan), networks.images(network, 60)


def changed(network, name, change):
    """The same network, but ``change`` was applied to the arrays of operation ``name``."""
    operations = []
    for key, operation in network.operations.items():
        if key == name:
            arrays = {array: getattr(operation, array).copy() for array in operation.arrays}
            change(arrays)
            operation = type(operation)(key, *operation.inputs, **arrays)
        operations.append(operation)
    return Network(operations, network.outputs)


@pytest.mark.parametrize("p_valid, p_ready", [(1.0, 1.0), (0.3, 1.0), (1.0, 0.2), (0.7, 0.6), (0.05, 0.9)])
def test_equal(small, p_valid, p_ready):
    network, plan, verilog, x = small
    found = simulate.check(plan, verilog, x, p_valid=p_valid, p_ready=p_ready, seed=7)
    assert found.mismatches == [] and found.wrong == 0
    result = found.result
    golden = reference.run(network, x, keep="all")
    assert result.beats[:, -1].tolist() == golden["class"].tolist()
    assert result.beats[:, :-1].tolist() == golden["scaled"].tolist()
    assert set(result.edges) == {"binarize", "act1", "act2", "fc3", "scaled"}
    for edge, values in result.edges.items():
        assert values.tolist() == golden[edge].reshape(len(x), -1).tolist(), edge
    assert not result.errors.any()
    assert np.all(result.first_in <= result.last_in) and np.all(result.last_in < result.first_out)
    assert result.cycles >= (len(x) - 1) * plan.cycles_per_inference


def test_cycles_are_the_plans(small):
    network, plan, verilog, x = small
    simulator = Simulator.of_plan(plan, verilog)
    result = simulator.run(encode(network, x))
    assert (result.interval, result.latency) == (plan.cycles_per_inference, plan.latency_cycles)
    assert simulator.run(encode(network, x[:1])).latency == plan.latency_cycles
    assert result.edges == {}
    assert result.cycles == result.last_out[-1] + 1


def test_stalls_are_seeded(small):
    network, plan, verilog, x = small
    simulator = Simulator.of_plan(plan, verilog)
    runs = [simulator.run(encode(network, x), p_valid=0.5, p_ready=0.5, seed=seed) for seed in (1, 1, 2)]
    assert runs[0].last_out.tolist() == runs[1].last_out.tolist() != runs[2].last_out.tolist()


def test_class_only():
    network = networks.dense_network((7, 4), (3, 3, 1), seed=1)
    plan = planned(network, scores=False)
    found = simulate.check(plan, accelerator.verilog(plan), networks.images(network, 40))
    assert found.mismatches == [] and found.result.beats.shape == (40, 1)
    assert (found.result.interval, found.result.latency) == (plan.cycles_per_inference, plan.latency_cycles)


def test_progress(small):
    network, plan, verilog, x = small
    told = []
    Simulator.of_plan(plan, verilog).run(encode(network, np.repeat(x, 5000, axis=0)),
                                         progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (300_000, 300_000) and told == sorted(told) and len(told) > 1


# Broken networks: the golden model gets what the Verilog does not have.

@pytest.mark.parametrize("name, layer, channel, change", [
    ("fc1", "fc1", 4, lambda arrays: arrays["weights"].__setitem__((4, slice(None)), -arrays["weights"][4])),
    ("act2", "fc2", 2, lambda arrays: (arrays["levels"].__setitem__((2, 0), 0),
                                       arrays["falling"].__setitem__(2, not arrays["falling"][2]))),
    ("scaled", "scaled", 3, lambda arrays: arrays["offset"].__setitem__(3, arrays["offset"][3] + 1)),
])
def test_where_it_breaks(small, name, layer, channel, change):
    network, plan, verilog, x = small
    found = simulate.check(plan, verilog, x)
    first = compare(changed(network, name, change), x, found.result)[0]
    assert (first.layer, first.channel) == (layer, (channel,))
    golden = reference.run(changed(network, name, change), x, keep="all")
    assert first.expected == golden[first.edge][first.image, channel]
    assert first.got == reference.run(network, x, keep="all")[first.edge][first.image, channel]
    assert str(first) == (f"layer '{layer}', channel {channel}, image {first.image}: expected {first.expected}, got "
                          f"{first.got} (edge '{first.edge}'; 1 of its {first.size} values differ)")


def test_one_weight_and_one_level():
    """The smallest faults: one flipped weight, one threshold off by one, each seen on inputs that meet it."""
    rng = np.random.default_rng(5)
    weights = rng.choice([-1, 1], (4, 6)).astype(np.int8)
    levels = np.array([[0], [2], [-2], [0]])

    def network(weights, levels):
        return Network([Input("image", TensorType((6,), 0, 255)), Threshold("binarize", "image", [[128]] * 6, [False] * 6),
                        Flatten("flat", "binarize"), Dense("fc1", "flat", weights),
                        Threshold("act1", "fc1", levels, [False] * 4), Dense("fc2", "act1", np.eye(4, dtype=int) * 2 - 1),
                        ArgMax("class", "fc2")], "class")
    x = np.unpackbits(np.arange(64, dtype=np.uint8)[:, None], axis=1)[:, 2:] * 255      # every input there is
    plan = planned(network(weights, levels))
    found = simulate.check(plan, accelerator.verilog(plan), x)
    assert found.mismatches == []
    flipped = weights.copy()
    flipped[2, 5] *= -1
    shifted = levels.copy()
    shifted[1, 0] += 2
    for other, channel in ((network(flipped, levels), 2), (network(weights, shifted), 1)):
        mismatches = compare(other, x, found.result)
        assert (mismatches[0].layer, mismatches[0].channel, mismatches[0].count) == ("fc1", (channel,), 1)
        golden = reference.run(other, x, keep=["act1"])["act1"] != reference.run(network(weights, levels), x,
                                                                              keep=["act1"])["act1"]
        assert {m.image for m in mismatches if m.edge == "act1"} == set(np.flatnonzero(golden.any(axis=1)).tolist())


# Broken Verilog.

def test_dropped_ready(small):
    """A layer that overlooks its successor's ready loses words as soon as there is a stall."""
    network, plan, verilog, x = small
    broken, count = re.subn(r"(\.\\?o__ready(?:\$\d+ )?\()fc2__ready\)", r"\g<1>1'h1)", verilog)
    assert count == 1
    with pytest.raises(HangError) as caught:
        simulate.check(plan, broken, x, p_ready=0.1)
    assert caught.value.streams["m_axis"][2] < len(x) * plan.result_beats
    words = {element.name: len(x) * element.words_out for element in plan.elements}
    assert caught.value.streams["fc1"][2] == words["fc1"] and caught.value.streams["fc2"][2] != words["fc2"]


def test_hang(small):
    """A layer that never takes its input: the message has the state of each stream."""
    network, plan, verilog, x = small
    broken, count = re.subn(r"\.\\?i__ready(?:\$\d+ )?\(fc1__ready\),\s*\.(\\?i__valid(?:\$\d+ )?)\(fc1__valid\)",
                            r".\1(1'h0)", verilog)
    broken, wires = re.subn("wire fc1__ready;", "wire fc1__ready = 1'h0;", broken)
    assert count == wires == 1
    with pytest.raises(HangError) as caught:
        simulate.check(plan, broken, x)
    lines = str(caught.value).splitlines()
    assert re.fullmatch(r"hang: nothing has moved for [\d,]+ cycles since cycle [\d,]+; 0 of 60 results were given", lines[0])
    assert "  fc1: valid 1, ready 0, 0 words so far" in lines
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["s_axis", *[e.name for e in plan.elements], "m_axis"]
    assert lines[1].startswith("  s_axis: valid 1, ready 0, ")
    assert lines[-1] == "  m_axis: valid 0, ready 1, 0 words so far"


@pytest.fixture(scope="module")
def sums():
    """(Verilog, simulator of a Verilog) of a core that adds bytes: three lanes, four beats."""
    def simulator(verilog):
        return Simulator(verilog, lanes=3, frame_bytes=12, result_beats=4, bytes_per_beat=1)
    return amaranth_verilog.convert(axi_cores.sum_core_top(3, 4), name="bnnhw_top", emit_src=False), simulator


def test_any_core(sums):
    verilog, simulator = sums
    frames = np.random.default_rng(0).integers(0, 256, (300, 12)).astype(np.uint8)
    expected = [axi_cores.sums(frame, 3) for frame in frames.tolist()]
    for stalls in ({}, {"p_valid": 0.5, "p_ready": 0.3, "seed": 1}):
        result = simulator(verilog).run(frames, **stalls)
        assert result.beats.tolist() == expected
    assert simulator(verilog).run(frames).interval == 4


@pytest.mark.parametrize("pattern, replacement, message", [
    (r"\.o__ready\(m_axis_tready\)", ".o__ready(1'h1)", r"^cycle \d+: (a result beat changed before it was taken"
                                                        r"|m_axis_tvalid fell before its beat was taken)$"),
    (r"assign m_axis_tlast = .*;", "assign m_axis_tlast = 1'h0;", r"^cycle \d+: m_axis_tlast is 0 on beat 3 of a result$"),
    (r"assign m_axis_tuser = .*;", "assign m_axis_tuser = m_axis_tlast;", r"^cycle \d+: m_axis_tuser changed within a result$"),
])
def test_protocol(sums, pattern, replacement, message):
    verilog, simulator = sums
    broken, count = re.subn(pattern, replacement, verilog)
    assert count == 1
    with pytest.raises(ProtocolError, match=message):
        simulator(broken).run(np.zeros((20, 12), np.uint8), p_ready=0.4)


def test_flagged_frame_is_a_mismatch(small):
    network, plan, verilog, x = small
    result = Simulator.of_plan(plan, verilog).run(encode(network, x))
    result.errors[17] = True
    [mismatch] = compare(network, x, result)
    assert str(mismatch).startswith("layer 'frame flag', channel 0, image 17: expected 0, got 1")


def test_waveforms(sums, tmp_path):
    verilog, simulator = sums
    simulator(verilog).run(np.zeros((2, 12), np.uint8), trace=tmp_path / "t.vcd")
    text = (tmp_path / "t.vcd").read_text()
    assert "s_axis_tvalid" in text and "$enddefinitions" in text


def test_encode():
    def network(lo, hi, step):
        return Network([Input("x", TensorType((2, 1, 2), lo, hi, step)),
                        Threshold("t", "x", [[lo + step]] * 2, [False] * 2)], "t")
    x = np.array([[[[0, 1]], [[254, 255]]]])
    assert encode(network(0, 255, 1), x).tolist() == [[0, 1, 254, 255]]
    assert encode(network(-1, 1, 2), np.array([[[[-1, 1]], [[1, -1]]]])).tolist() == [[0, 1, 1, 0]]
    assert encode(network(-300, 300, 1), x - 300).tolist() == [[0, 0, 1, 0, 254, 0, 255, 0]]
    assert encode(network(-300, 300, 1), x + 45).tolist() == [[89, 1, 90, 1, 87, 2, 88, 2]]


@pytest.mark.parametrize("arguments, message", [
    ({"frames": np.zeros((1, 11), np.uint8)}, r"^frames must be uint8 \(N, 12\), not uint8 \(1, 11\)$"),
    ({"frames": np.zeros((1, 12), np.int64)}, r"^frames must be uint8 \(N, 12\), not int64 \(1, 12\)$"),
    ({"p_ready": 0}, r"^p_valid and p_ready must be above 0 and at most 1, not 1.0 and 0$"),
])
def test_wrong_arguments(sums, arguments, message):
    verilog, simulator = sums
    with pytest.raises(ValueError, match=message):
        simulator(verilog).run(**({"frames": np.zeros((1, 12), np.uint8)} | arguments))


def test_wrong_sizes(sums):
    verilog, _ = sums
    with pytest.raises(ValueError, match=r"^lanes must divide the frame's 12 bytes, not be 5$"):
        Simulator(verilog, lanes=5, frame_bytes=12, result_beats=1, bytes_per_beat=1)
    with pytest.raises(ValueError, match=r"^bytes_per_beat must be 1 to 8, not 9$"):
        Simulator(verilog, lanes=1, frame_bytes=12, result_beats=1, bytes_per_beat=9)
