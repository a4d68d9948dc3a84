"""Keras models in: the decisions of the golden model are those of Keras itself."""
import collections
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import cli, reference
from bnnhw.importers import keras as importer
from bnnhw.importers.exact import Builder
from bnnhw.importers.keras_quantizers import applied, weighed
from bnnhw.importers.onnx_windows import Padded
from bnnhw.importers.problems import Refusal
from bnnhw.ir import Network, TensorType

from . import keras_larq as larq
from .keras_larq import keras

L = keras.layers
# Keras' own, about its torch backend under numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")


def stirred(model, seed):
    """The model with random batch norms, whose scales may be negative, and biases."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        for variable in layer.variables:
            name, shape = variable.path.rpartition("/")[2], variable.shape
            if name in ("gamma", "beta", "bias"):
                variable.assign(rng.normal(size=shape))
            elif name == "moving_mean":
                variable.assign(2 * rng.normal(size=shape))
            elif name == "moving_variance":
                variable.assign(rng.uniform(0.3, 9, shape))
    return model


def saved(model, path):
    model.save(path)
    return path


@pytest.fixture(autouse=True)
def quiet(caplog):
    """Keras calls the format old at each saving."""
    caplog.set_level("ERROR")


def pixels(model, count, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *model.input_shape[1:]))


def compare(model, path, count=200, scale=1, offset=0, seed=0, **options):
    """Import, and compare the decisions over random images. Returns the artifact."""
    found = importer.read(saved(model, path), **options)
    images = pixels(model, count, seed)
    scores = model.predict((images * np.float64(scale) + offset).astype(np.float32), verbose=0)
    decided = reference.run(found.network, images.reshape(count, *found.network.types[found.network.inputs[0]].shape))
    assert np.array_equal(decided[found.network.outputs[0]], scores.argmax(axis=1))
    return found


class Maker:
    """Random functional models of what is taken in."""
    def __init__(self, seed):
        self.rng, self.used = np.random.default_rng(seed), []

    def chance(self, p=0.5):
        return self.rng.random() < p

    def pick(self, *options):
        choice = options[self.rng.integers(len(options))]
        self.used.append(choice if isinstance(choice, str) else type(choice).__name__)
        return choice

    def sign(self):
        return self.pick("ste_sign", "approx_sign", larq.SteTern(threshold_value=float(self.rng.uniform(0, 1.5))),
                         larq.SteHeaviside(), larq.DoReFa(k_bit=int(self.rng.integers(1, 4))))

    def kernel(self):
        return self.pick("ste_sign", larq.SteTern(threshold_value=0.1), larq.SteTern(ternary_weight_networks=True),
                         larq.MagnitudeAwareSign())

    def norm(self, x):
        return L.BatchNormalization(scale=self.chance(), center=self.chance(0.8), epsilon=float(self.pick(1e-3, 1e-5)))(x)

    def conv(self, x, first=False):
        settings = dict(kernel_quantizer=self.kernel(), use_bias=self.chance(0.3))
        side = int(min(x.shape[1:3]))
        size, stride = tuple(int(v) for v in self.rng.integers(1, min(side, 3) + 1, 2)), int(self.rng.integers(1, 3))
        if not first:
            settings["input_quantizer"] = self.sign()
            if size[0] > 1 and size[1] > 2 and self.chance(0.5):
                self.used.append("ZeroPadding2D")
                x = L.ZeroPadding2D(((1, 0), (0, 2)))(x)
            elif self.chance():
                settings |= dict(padding="same", pad_values=self.pick(0.0, 1.0))
        if not first and self.chance(0.3):
            settings["depthwise_quantizer"] = settings.pop("kernel_quantizer")
            return larq.QuantDepthwiseConv2D(size, strides=stride, **settings)(x)
        return larq.QuantConv2D(int(self.rng.integers(2, 7)), size, strides=stride, **settings)(x)

    def pool(self, x):
        if min(x.shape[1:3]) < 2 or self.chance(0.4):
            return x
        return self.pick(L.MaxPooling2D, L.AveragePooling2D)(2, strides=int(self.rng.integers(1, 3)))(x)

    def shortcut(self, x):
        """x plus a binary convolution of it, both signs."""
        signs = L.Activation(larq.SteSign())(x)
        other = larq.QuantConv2D(x.shape[3], 3, padding="same", kernel_quantizer="ste_sign", pad_values=1.0)(signs)
        other = L.Activation(larq.SteSign())(self.norm(other))
        self.used.append("Add")
        return L.Add()([signs, other])

    def model(self):
        source = x = L.Input((int(self.rng.integers(6, 10)), int(self.rng.integers(6, 10)), int(self.rng.integers(1, 3))))
        if self.chance(0.7):
            x = L.Rescaling(*self.pick((1 / 255, 0.0), (1 / 127.5, -1.0)))(x)
        x = self.pool(self.norm(self.conv(x, first=True)))
        for _ in range(self.rng.integers(1, 3)):
            x = L.Dropout(0.2)(self.pool(self.norm(self.conv(x))))
        x = self.shortcut(x) if self.chance(0.3) else x
        if self.chance(0.3):
            x = L.GlobalAveragePooling2D()(x)
        else:
            x = L.Flatten()(x)
            x = larq.QuantDense(6, input_quantizer=self.sign(), kernel_quantizer="ste_sign", use_bias=False)(x)
            x = L.BatchNormalization()(x)
            x = larq.QuantDense(5, input_quantizer="ste_sign", kernel_quantizer="ste_sign")(x)
        return keras.Model(source, x)


def random_model(seed):
    keras.utils.set_random_seed(seed)
    maker = Maker(seed)
    return stirred(maker.model(), seed), maker.used


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_models(tmp_path_factory, seed):
    model, _ = random_model(seed)
    try:
        compare(model, tmp_path_factory.getbasetemp() / "random.h5", 64, seed=seed, input_scale=1)
    except Refusal:
        pass


def test_random_models_are_mostly_taken(tmp_path):
    """So that the test above speaks of something."""
    taken, used = 0, collections.Counter()
    for seed in range(12):
        model, parts = random_model(seed)
        try:
            compare(model, tmp_path / "net.h5", 64, seed=seed, input_scale=1)
        except Refusal:
            continue
        taken += 1
        used.update(set(parts))
    assert taken >= 9
    assert not {"ste_sign", "SteTern", "SteHeaviside", "DoReFa", "MagnitudeAwareSign", "Add", "ZeroPadding2D"} - used.keys()


def edge(network, name):
    """The network up to one of its edges."""
    needed, waiting = set(), [name]
    while waiting:
        needed.add(waiting[-1])
        waiting += network.operations[waiting.pop()].inputs
    return Network([operation for name, operation in network.operations.items() if name in needed], (name,))


def test_trained_model_and_its_hidden_signs(tmp_path):
    """A Sequential model after some steps of training with the straight-through estimator; no sign differs on the way."""
    keras.utils.set_random_seed(1)
    rng = np.random.default_rng(1)
    signs = dict(input_quantizer="ste_sign", kernel_quantizer="ste_sign", use_bias=False)
    model = keras.Sequential([
        L.Input((8, 8)), L.Reshape((8, 8, 1)), L.Rescaling(1 / 127.5, -1), larq.QuantConv2D(8, 3, kernel_quantizer="ste_sign"),
        L.BatchNormalization(), larq.QuantConv2D(8, 3, padding="same", pad_values=1.0, name="second", **signs),
        L.MaxPooling2D(2), L.BatchNormalization(scale=False), L.Dropout(0.1), L.Flatten(),
        larq.QuantDense(16, name="third", **signs), L.BatchNormalization(), larq.QuantDense(4, name="fourth", **signs),
        L.BatchNormalization(), L.Activation("softmax")])
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="sparse_categorical_crossentropy")
    x = rng.integers(0, 256, (128, 8, 8))
    y = 2 * (x[:, :4].sum((1, 2)) > x[:, 4:].sum((1, 2))) + (x[:, :, :4].sum((1, 2)) > x[:, :, 4:].sum((1, 2)))
    model.fit(x.astype(np.float32), y, epochs=3, batch_size=32, verbose=0)
    found = compare(model, tmp_path / "net.h5", 400)
    assert found.network.types[found.network.inputs[0]].shape == (8, 8, 1)
    assert "layer 'rescaling" in found.provenance["imported"]["assumed"] and "2/255" in found.provenance["imported"]["assumed"]
    images = pixels(model, 400)
    for name in ("second", "third", "fourth"):
        before = model.layers[model.layers.index(model.get_layer(name)) - 1]
        scores = keras.Model(model.inputs, before.output).predict(images.astype(np.float32), verbose=0)
        decided = reference.run(edge(found.network, f"{name}_input"), images[..., None])[f"{name}_input"]
        assert np.array_equal(decided.reshape(len(decided), -1), np.where(scores >= 0, 1, -1).reshape(len(scores), -1))


@settings(max_examples=10, deadline=None)
@given(height=st.integers(3, 9), width=st.integers(3, 9), rows=st.integers(1, 4), columns=st.integers(1, 4),
       stride=st.integers(1, 3), pad=st.sampled_from([0.0, 1.0, -1.0]), deep=st.booleans(), seed=st.integers(0, 99))
def test_same_padding(tmp_path_factory, height, width, rows, columns, stride, pad, deep, seed):
    """What is left over of a side comes behind; the stored numbers, not only the decisions, are compared."""
    keras.utils.set_random_seed(seed)
    source = L.Input((height, width, 2))
    settings = dict(strides=stride, padding="same", pad_values=pad, use_bias=False, input_quantizer="ste_sign", name="conv")
    x = L.Rescaling(1, -127.5)(source)
    if deep:
        x = larq.QuantDepthwiseConv2D((rows, columns), depthwise_quantizer="ste_sign", **settings)(x)
    else:
        x = larq.QuantConv2D(3, (rows, columns), kernel_quantizer="ste_sign", **settings)(x)
    model = keras.Model(source, larq.QuantDense(3, kernel_quantizer="ste_sign")(L.Flatten()(x)))
    found = compare(model, tmp_path_factory.getbasetemp() / "same.h5", 20, seed=seed)
    images = pixels(model, 20, seed)
    scores = keras.Model(source, x).predict(images.astype(np.float32), verbose=0)
    assert np.array_equal(reference.run(edge(found.network, "conv"), images)["conv"], scores)


def test_stored_signs_of_plain_layers(tmp_path):
    """Keras' own layers whose weights are +a, -a and 0; relu behind which a quantizer stands; operations of keras.ops."""
    keras.utils.set_random_seed(2)
    rng = np.random.default_rng(2)
    source = L.Input((7, 6, 2), dtype="uint8")
    x = L.Conv2D(6, 3, padding="same", strides=2, activation="relu")(L.Rescaling(1.0)(source))
    x = L.BatchNormalization(epsilon=1e-5)(x)
    x = L.Activation(larq.DoReFa(k_bit=2))(L.ReLU(max_value=6)(x))
    y = L.BatchNormalization()(L.DepthwiseConv2D(3, padding="same")(x))
    x = keras.ops.sign(y) + L.Activation(larq.SteSign())(L.BatchNormalization()(y))
    x = L.Dense(5, activation="linear")(L.Flatten()(L.GlobalMaxPooling2D(keepdims=True)(x)))
    model = stirred(keras.Model(source, L.Softmax()(x)), 2)
    for layer in model.layers:
        for variable in layer.variables:
            if variable.path.endswith("kernel"):
                scale = 1.0 if "depthwise" in variable.path else rng.uniform(0.1, 2, variable.shape[-1])
                variable.assign(rng.integers(-1, 2, variable.shape) * np.float32(scale))
    found = compare(model, tmp_path / "net.h5", 300)
    assert "assumed" not in found.provenance["imported"]


def test_the_input_can_be_told(tmp_path, capsys):
    """As --input-scale and --input-range of the command; without them pixel / 255 is assumed, and said."""
    keras.utils.set_random_seed(3)
    model = stirred(keras.Sequential([L.Input((6,)), larq.QuantDense(8, kernel_quantizer="ste_sign"), L.BatchNormalization(),
                                      larq.QuantDense(4, input_quantizer="ste_sign", kernel_quantizer="ste_sign")]), 3)
    found = compare(model, tmp_path / "net.h5", scale=Fraction(1, 255))
    assert found.provenance["imported"]["assumed"].startswith("the model's input is taken to be pixel / 255")
    compare(model, tmp_path / "net.h5", scale=2 / 255, offset=-1, input_scale=Fraction(2, 255), input_offset=-1)
    assert cli.main(["import", str(tmp_path / "net.h5"), "--check", "--input-scale", "1/16", "--input-range", "-8", "7"]) == 0
    assert "input: 6, -8 to 7" in capsys.readouterr().out


# What Larq and QKeras themselves made: tests/keras_files/make.py.

FILES = Path(__file__).parent / "keras_files"


@pytest.mark.parametrize("name", ["larq", "qkeras"])
def test_models_of_larq_and_qkeras(name):
    recorded = np.load(FILES / f"{name}.npz")
    found = importer.read(FILES / f"{name}.h5")
    assert np.array_equal(reference.run(found.network, recorded["images"].astype(int))["class"], recorded["classes"])
    assert found.provenance["imported"]["kind"] == "Keras .h5" and found.provenance["float32_ties"] == []
    assert len(set(recorded["classes"].tolist())) == 5


def spec_of(text):
    return json.loads(text) if text.startswith("{") else text


def recorded_quantizers(what):
    return [(name, k, text) for name in ("larq", "qkeras")
            for k, text in enumerate(np.load(FILES / f"{name}.npz")[what].tolist())]


@pytest.mark.parametrize("name, k, text", recorded_quantizers("activations"))
def test_quantizers_of_tensors(name, k, text):
    """On multiples of 1/32, which lie on many of the boundaries, 0 among them."""
    recorded = np.load(FILES / f"{name}.npz")
    build = Builder()
    value = build.input("x", TensorType((1,), -160, 160), "NC", Fraction(1, 32))
    quantized = applied(build, "q", value, spec_of(text))
    codes = (recorded["grid"] * 32).astype(int)[:, None]
    network = build.finish([quantized])
    integers = reference.run(network, codes)[network.outputs[0]][:, 0]
    found = [float(quantized.scale[0] * int(t) + quantized.offset[0]) for t in integers]
    assert np.abs(found - recorded["values"][k]).max() < 2**-16     # the noise of x + (q - x); levels are 2**-9 apart
    padded = applied(build, "p", Padded(value, (1, 0, 0, 0), Fraction(0)), spec_of(text))
    assert float(padded.pad) == found[160]


@pytest.mark.parametrize("name, k, text", recorded_quantizers("kernels"))
def test_quantizers_of_weights(name, k, text):
    recorded = np.load(FILES / f"{name}.npz")
    array, factor = weighed(recorded["kernel"], spec_of(text), {})
    found = array if factor is None else array * np.array([float(v) for v in factor])
    assert found.shape == recorded["weights"][k].shape
    assert np.allclose(found, recorded["weights"][k], rtol=1e-6, atol=2**-20)
    if "auto" not in text and "agnitude" not in text and "ernary_weight_networks" not in text:
        assert np.abs(found - recorded["weights"][k]).max() < 2**-20
