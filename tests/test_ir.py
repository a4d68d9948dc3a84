import numpy as np
import pytest

from bnnhw.ir import Affine, ArgMax, Dense, Flatten, Input, Network, NetworkError, TensorType, Threshold

from .networks import dense_network

IMAGE = Input("image", TensorType((2, 3, 1), 0, 255))
SIGNS = Threshold("binarize", "image", [[128]], [False])
FLAT = Flatten("flat", "binarize")


def chain(*operations, outputs=None):
    return Network([IMAGE, SIGNS, FLAT, *operations], outputs or operations[-1].name)


def test_types():
    network = dense_network([5, 3])
    assert network.types["image"] == TensorType((4, 3, 1), 0, 255, 1)
    assert network.types["binarize"] == TensorType.bipolar((4, 3, 1))
    assert network.types["flat"] == TensorType.bipolar((12,))
    assert network.types["fc1"] == TensorType((5,), -12, 12, 2)
    assert network.types["class"] == TensorType((), 0, 2)
    assert (TensorType.bipolar((1,)).bits, TensorType((1,), 0, 255).bits, TensorType((1,), -64, 64, 2).bits) == (1, 8, 7)
    assert TensorType((), 3, 3).bits == 1


def test_dense_range_of_pixels():
    network = Network([Input("x", TensorType((3,), 0, 255)), Dense("fc", "x", [[1, 1, -1], [-1, -1, -1]])], "fc")
    assert network.types["fc"] == TensorType((2,), -765, 510)
    network = Network([Input("x", TensorType((3,), 0, 4, 2)), Dense("fc", "x", [[1, 1, -1]])], "fc")
    assert network.types["fc"] == TensorType((1,), -4, 8, 2)


def test_any_order_gives_the_same_network():
    operations = list(dense_network([4, 3]).operations.values())
    assert Network(operations[::-1], "class").digest == Network(operations, "class").digest


@pytest.mark.parametrize("level, rising, falling", [
    (-99, -6, -8), (-6, -6, -6), (-5, -4, -6), (0, 0, 0), (1, 2, 0), (6, 6, 6), (7, 8, 6), (99, 8, 6),
])
def test_threshold_normal_form(level, rising, falling):
    network = chain(Dense("fc", "flat", np.ones((2, 6))), Threshold("act", "fc", [[level], [level]], [False, True]))
    assert network.operations["act"].levels.tolist() == [[rising], [falling]]


def test_equal_functions_have_equal_digests():
    def network(level):
        return chain(Dense("fc", "flat", np.ones((1, 6))), Threshold("act", "fc", [[level]], [False]))
    assert network(1).digest == network(2).digest != network(3).digest


def test_digest_sees_every_integer():
    base = dense_network([3, 2], affine=True)
    for name, operation in base.operations.items():
        for key in operation.arrays:
            value = getattr(operation, key)
            changed = ~value if value.dtype == bool else np.where(np.arange(value.size).reshape(value.shape) == 0, -value, value)
            if np.array_equal(changed, value):
                continue
            altered = dict(base.operations)
            arguments = {k: getattr(operation, k) for k in operation.arrays + operation.settings} | {key: changed}
            altered[name] = type(operation)(name, *operation.inputs, **arguments)
            assert Network(altered.values(), base.outputs).digest != base.digest, (name, key)


@pytest.mark.parametrize("make, message", [
    (lambda: chain(Dense("fc", "flat", np.ones((2, 5)))),
     "operation 'fc': weights take a vector of 5, but the input's shape is (6,)"),
    (lambda: chain(Dense("fc", "flat", [[1, 2, 1, 1, 1, 1]])), "operation 'fc': weights must be -1, 0 or +1, not 2"),
    (lambda: chain(Dense("fc", "flat", [[1, 257, 1, 1, 1, 1]])), "operation 'fc': weights must be -1, 0 or +1, not 257"),
    (lambda: Threshold("t", "flat", [[0]], [5]), "operation 't': falling must be false or true"),
    (lambda: Threshold("t", "flat", [[0]], [0], step=2.9), "operation 't': step must be an integer, not 2.9"),
    (lambda: Threshold("t", "flat", [[2**53 + 1]], [0]), "operation 't': levels must stay within 2**53"),
    (lambda: Flatten("f", ["a"]), "operation 'f': an input is the name of an operation, not ['a']"),
    (lambda: Input("x", {"shape": (0,), "lo": 0, "hi": 1}), "operation 'x': shape must have positive sizes, not (0,)"),
    (lambda: chain(Dense("fc", "flat", [[1, 0.5, 1, 1, 1, 1]])), "operation 'fc': weights must be integers"),
    (lambda: chain(Dense("fc", "flat", [1, 1])),
     "operation 'fc': weights must have 2 dimensions and elements, not shape (2,)"),
    (lambda: chain(Dense("fc", "nowhere", np.ones((1, 6)))), "operation 'fc': input 'nowhere' is produced by no operation"),
    (lambda: chain(Threshold("act", "flat", [[0]], [False])), "operation 'act': levels for 1 channels, but the input has 6"),
    (lambda: Threshold("act", "flat", [[0]], [False, True]), "operation 'act': falling has 2 channels, levels 1"),
    (lambda: chain(Affine("a", "flat", [1], [0])), "operation 'a': scales for 1 channels, but the input has 6"),
    (lambda: Affine("a", "flat", [1], [0, 1]), "operation 'a': scale has 1 channels, offset 2"),
    (lambda: chain(Affine("a", "flat", [2**53] * 6, [0] * 6), Affine("b", "a", [2] * 6, [0] * 6)),
     "operation 'b': values up to 18014398509481984 exceed 2**53"),
    (lambda: Network([IMAGE, ArgMax("class", "image")], "class"),
     "operation 'class': the input must be a vector, but its shape is (2, 3, 1)"),
    (lambda: Network([IMAGE, IMAGE], "image"), "operation 'image': the name is taken twice"),
    (lambda: Network([Flatten("a", "b"), Flatten("b", "a")], "a"), "operation 'a': it is on a cycle"),
    (lambda: Network([IMAGE, SIGNS], "image"), "operation 'binarize': nothing uses its result and it is not an output"),
    (lambda: Network([IMAGE], "other"), "output 'other' is produced by no operation; there are ['image']"),
    (lambda: Network([IMAGE], ()), "the network has no outputs"),
    (lambda: Input("2x", TensorType((1,), 0, 1)),
     "operation name must be a letter followed by letters, digits and underscores, not '2x'"),
    (lambda: TensorType((0,), 0, 1), "shape must have positive sizes, not (0,)"),
    (lambda: TensorType((1,), 0, 3, 2), "values 0, 2, ..., 3 are not a range"),
])
def test_refusals(make, message):
    with pytest.raises(NetworkError) as refusal:
        make()
    assert str(refusal.value) == message


def test_arrays_cannot_change():
    network = dense_network([3, 2])
    with pytest.raises(ValueError):
        network.operations["fc1"].weights[0, 0] = 1
