"""Random networks for the tests."""

import numpy as np
from hypothesis import strategies as st

from bnnhw.ir import (
    Affine,
    ArgMax,
    BankAffine,
    BankThreshold,
    Dense,
    Flatten,
    Input,
    Network,
    TensorType,
    Thermometer,
    Threshold,
)


def dense_network(widths, shape=(4, 3, 1), *, seed=0, affine=False, scores=False, spread=4):
    """Image -> signs -> dense layers with thresholds (rising, falling, always, never) -> class."""
    rng = np.random.default_rng(seed)
    channels = shape[-1]
    operations = [
        Input("image", TensorType(shape, 0, 255)),
        Threshold("binarize", "image", rng.integers(40, 215, (channels, 1)), rng.random(channels) < 0.3),
        Flatten("flat", "binarize"),
    ]
    edge, n_in = "flat", int(np.prod(shape))
    for index, n_out in enumerate(widths, 1):
        operations.append(Dense(f"fc{index}", edge, rng.choice([-1, 1], (n_out, n_in))))
        edge, n_in = f"fc{index}", n_out
        if index < len(widths):
            levels = rng.integers(-spread, spread + 1, (n_out, 1))
            levels[rng.random(n_out) < 0.05] = 10_000       # never if rising, always if falling
            levels[rng.random(n_out) < 0.05] = -10_000
            operations.append(Threshold(f"act{index}", edge, levels, rng.random(n_out) < 0.3))
            edge = f"act{index}"
    if affine:
        operations.append(Affine("scaled", edge, rng.integers(-9, 10, n_in), rng.integers(-60, 61, n_in)))
        edge = "scaled"
    operations.append(ArgMax("class", edge))
    return Network(operations, ("class", edge) if scores else "class")


def bank_network(widths, tasks, shape=(4, 3, 1), *, seed=0, affine=True, scores=False, first="signs", falling=0.3, zeros=0.0):
    """Image -> ``first`` -> dense layers with banks of thresholds -> a bank of affines, if ``affine`` -> class.

    ``first`` is "signs", "levels" (a thermometer) or "pixels". Banks rise and fall, always and never among them.
    """
    rng = np.random.default_rng(seed)
    operations = [Input("image", TensorType(shape, 0, 255)), Input("task", TensorType((), 0, tasks - 1))]
    if first == "signs":
        operations.append(Threshold("bits", "image", [[128]] * shape[-1], [False] * shape[-1]))
    elif first == "levels":
        operations.append(Thermometer("bits", "image", [60, 128, 190]))
    operations.append(Flatten("flat", operations[-1].name if first != "pixels" else "image"))
    edge, n_in, low = "flat", int(np.prod(shape)) * (3 if first == "levels" else 1), 255 if first == "pixels" else 1
    for index, n_out in enumerate(widths, 1):
        weights = rng.choice([-1, 1], (n_out, n_in))
        weights[rng.random(weights.shape) < zeros] = 0
        operations.append(Dense(f"fc{index}", edge, weights))
        edge, n_in = f"fc{index}", n_out
        if index < len(widths):
            levels = rng.integers(-4 * low, 4 * low + 1, (tasks, n_out, 1))
            levels[rng.random((tasks, n_out)) < 0.1] = 100_000
            levels[rng.random((tasks, n_out)) < 0.1] = -100_000
            operations.append(BankThreshold(f"act{index}", edge, "task", levels, rng.random((tasks, n_out)) < falling))
            edge, low = f"act{index}", 1
    if affine:
        size = (tasks, n_in)
        operations.append(BankAffine("scaled", edge, "task", rng.integers(-9, 10, size), rng.integers(-60, 61, size)))
        edge = "scaled"
    operations.append(ArgMax("class", edge))
    return Network(operations, ("class", edge) if scores else "class")


@st.composite
def bank_networks(draw, max_width=12, max_tasks=7):
    """Dense networks with banks, of random shape."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)))
    widths = draw(st.lists(st.integers(1, max_width), min_size=1, max_size=4))
    first = draw(st.sampled_from(("signs", "levels", "pixels")))
    return bank_network(widths, draw(st.integers(2, max_tasks)), shape, seed=draw(st.integers(0, 10_000)),
                        affine=draw(st.booleans()) or len(widths) == 1, first=first,
                        falling=draw(st.sampled_from((0.0, 0.5))), zeros=draw(st.sampled_from((0.0, 0.2))))


@st.composite
def networks(draw, max_width=12):
    """Dense networks of random shape."""
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3)))
    widths = draw(st.lists(st.integers(1, max_width), min_size=1, max_size=4))
    return dense_network(widths, shape, seed=draw(st.integers(0, 10_000)), affine=draw(st.booleans()))


def images(network, count, seed=0):
    """Random uint8 images for ``network``'s input, all zeros and all 255 among them."""
    shape = network.types[network.inputs[0]].shape
    x = np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)
    x[:1], x[1:2] = 0, 255
    return x
