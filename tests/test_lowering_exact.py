# amaranth: UnusedElaboratable=no
"""Random networks under random options, stage by stage in numpy integers: each value is the golden model's and fits."""

import collections

import numpy as np
import pytest
from amaranth.hdl import signed, unsigned

from bnnhw import reference
from bnnhw.baked import FABRICS
from bnnhw.gateware.mvtu import most_registers
from bnnhw.gateware.weights import weight_words
from bnnhw.gateware.window import border_classes
from bnnhw.lower import lower
from bnnhw.simulator import encode
from bnnhw.stages import BankAffineStage, ConvStage, DenseStage, DepthwiseStage

from .interpreter import WidthError, check_width, interpret
from .topologies import inputs, random_network, wide_network

NETWORKS, FRAMES = 250, 10
MEMORIES = ["bram", "lut", "updatable"]
KINDS = {"input", "threshold", "thermometer", "affine", "add", "maxpool", "sumpool", "dense", "conv", "depthwise", "lookup",
         "lookup-class", "class", "scores"}


def random_lanes(size, rng):
    """PE or SIMD of a layer, often one that does not divide its ``size``."""
    uneven = [lanes for lanes in range(1, size) if size % lanes]
    return int(rng.choice(uneven) if uneven and rng.random() < 0.6 else rng.integers(1, size + 1))


def random_options(stage, rng):
    """Any that ``stage`` takes."""
    if isinstance(stage, DenseStage) and stage.unfoldable and rng.random() < 0.1:
        return stage.parse({"kind": "dense", "style": "unfolded", "fabric": str(rng.choice(list(FABRICS)))})
    if isinstance(stage, DenseStage | ConvStage):
        dense = isinstance(stage, DenseStage)
        n_out, n_in = (stage.elements_out, stage.elements_in) if dense else (stage.channels_out, stage.channels)
        pe, simd = random_lanes(n_out, rng), random_lanes(n_in, rng)
        return stage.parse({"kind": stage.kind, "pe": pe, "simd": simd, "memory": str(rng.choice(MEMORIES)),
                            "registers": int(rng.integers(0, most_registers(simd) + 1)), "slices": bool(rng.integers(2))})
    space = list(stage.folding_space())
    own = space[rng.integers(len(space))]
    return own.model_copy(update={"memory": str(rng.choice(MEMORIES))}) if isinstance(stage, DepthwiseStage) else own


def codes_of(network, stage, x):
    """What the first stage takes of the bytes that are sent: int64 array (N, elements)."""
    size = stage.bits(0) // 8
    return (encode(network, x).reshape(len(x), -1, size).astype(np.int64) << 8 * np.arange(size)).sum(axis=2)


def case(seed):
    """Of odd seeds the networks have banks and tables too. Returns the network, its stages, their options."""
    network = wide_network(seed) if seed % 2 else random_network(seed, largest=5)
    rng = np.random.default_rng([seed, 1])
    stages = lower(network, scores=bool(rng.integers(2)))
    return network, stages, {stage.name: random_options(stage, rng) for stage in stages}


def check(network, stages, options, seed=0):
    """Every edge that stages carry, and the result, of some frames."""
    x = inputs(network, FRAMES, seed)
    task = np.random.default_rng(seed).integers(0, network.tasks, FRAMES) if network.task else None
    golden = reference.run(network, x, keep="all", task=task)
    found = interpret(stages, options, codes_of(network, stages[0], x), task)
    *before, last = stages
    edges = {stage.edge: found[stage.name] for stage in before if stage.edge is not None}
    edges |= {edge: found[edge] for stage in stages for edge in stage.inner}
    for edge, codes in edges.items():
        type = network.types[edge]
        np.testing.assert_array_equal(type.lo + type.step * codes, golden[edge].reshape(FRAMES, -1), err_msg=edge)
    assert all(stage.bits_out == network.types[stage.edge].bits for stage in before if stage.edge is not None)
    output, result = network.outputs[0], found[last.name]
    np.testing.assert_array_equal(result[:, -1], golden[output])
    if last.kind == "scores":
        np.testing.assert_array_equal(result[:, :-1], golden[network.operations[output].inputs[0]])


@pytest.mark.parametrize("seed", range(NETWORKS))
def test_network(seed):
    check(*case(seed), seed)


def test_enough_of_everything():
    """The networks above have each kind of stage, padding, memory, result, and what is hard about them."""
    counts = collections.Counter()
    for network, stages, options in map(case, range(NETWORKS)):
        counts["banks"] += network.tasks > 1
        for stage in stages:
            own = options[stage.name]
            counts[stage.kind] += 1
            counts["banks of scales"] += isinstance(stage, BankAffineStage)
            counts["borders"] += len(getattr(stage, "reach", ())) > 0 and len(stage.result.starts) > stage.tasks
            counts["fill"] += getattr(stage, "fill", 0) > 0
            counts["unfolded"] += getattr(own, "style", None) == "unfolded"
            if hasattr(own, "simd"):
                rows, columns = stage.groupings(own)
                counts.update({f"{own.memory}, {type(stage.result).__name__}": 1, "short group": rows.missing > 0,
                               "short word": columns.missing > 0, "turned": stage.result.turned,
                               "fill of a short word": columns.missing * getattr(stage, "fill", 0) > 0})
    assert KINDS <= set(counts) and min(counts.values()) >= 3, counts


def borders_backwards(*geometry):
    classes, indices = border_classes(*geometry)
    return classes[::-1], [len(classes) - 1 - index for index in indices]


@pytest.mark.parametrize("place, wrong", [
    ("bnnhw.gateware.mvtu.Signs.raised", lambda result, more: result),
    ("bnnhw.gateware.mvtu.Signs.accumulator", lambda result, starts, reach: signed(4)),
    ("bnnhw.gateware.window.border_classes", borders_backwards),
    ("bnnhw.gateware.dense.weight_words", lambda weights, *lanes: weight_words(weights[::-1], *lanes)),
])
def test_what_is_wrong_is_seen(monkeypatch, place, wrong):
    monkeypatch.setattr(place, wrong)
    with pytest.raises(AssertionError):
        for seed in range(NETWORKS):
            check(*case(seed), seed)


def test_widths_are_checked():
    check_width([-8, 7], signed(4), "x")
    check_width([0, 15], unsigned(4), "x")
    for values, shape in (([8], signed(4)), ([-9], signed(4)), ([16], unsigned(4)), ([-1], unsigned(4))):
        with pytest.raises(WidthError, match=r"^x: "):
            check_width(values, shape, "x")
