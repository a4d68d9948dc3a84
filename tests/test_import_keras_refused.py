"""Keras files that cannot be taken in: one clear line each, soon, and nothing of theirs is run."""
import json
import time

import h5py
import numpy as np
import pytest

from bnnhw import cli
from bnnhw.importers import keras as importer
from bnnhw.importers.keras_file import Stored
from bnnhw.importers.keras_h5 import contents
from bnnhw.importers.problems import Refusal

from . import keras_larq as larq
from .keras_larq import keras

L = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword")
SECONDS = 15        # on a busy machine


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The bytes of a model that is taken in: x, conv, norm, sum, flat, dense, end."""
    keras.utils.set_random_seed(0)
    source = L.Input((6, 6, 1), name="x")
    x = larq.QuantConv2D(4, 3, kernel_quantizer="ste_sign", use_bias=False, name="conv")(source)
    x = L.BatchNormalization(name="norm")(x)
    signs = L.Activation(larq.SteSign(), name="signs")(x)
    x = L.Add(name="sum")([signs, larq.QuantConv2D(4, 1, kernel_quantizer="ste_sign", use_bias=False, name="side")(signs)])
    x = L.MaxPooling2D(2, name="pool")(x)
    x = larq.QuantDense(3, input_quantizer="ste_sign", kernel_quantizer="ste_sign", name="dense")(L.Flatten(name="flat")(x))
    model = keras.Model(source, L.Activation("softmax", name="end")(x))
    path = tmp_path_factory.mktemp("small") / "net.h5"
    model.save(path)
    return path.read_bytes()


def edited(small, path, config=None, weights=None):
    """The small model in ``path``, with changes: ``config(layers by name, model's config)``, ``weights(file)``."""
    path.write_bytes(small)
    with h5py.File(path, "r+") as file:
        model = json.loads(file.attrs["model_config"])
        if config:
            config({layer["name"]: layer for layer in model["config"]["layers"]}, model["config"])
            file.attrs["model_config"] = json.dumps(model)
        if weights:
            weights(file)
    return path


@pytest.fixture
def here(monkeypatch):
    """Files are taken apart in this process: what is tried comes after that, and starting another takes time."""
    def stored_in(path):
        header, arrays = contents(path)
        return Stored(json.loads(json.dumps(header)), b"".join(array.tobytes() for array in arrays))
    monkeypatch.setattr(importer, "stored_in", stored_in)


def message(path, capsys):
    start = time.perf_counter()
    status = cli.main(["import", str(path), "-o", str(path.parent / "net.bnn")])
    assert time.perf_counter() - start < SECONDS
    captured = capsys.readouterr()
    assert status == 1 and captured.out == "" and not (path.parent / "net.bnn").exists()
    assert captured.err.startswith(f"error: {path}: ") and captured.err.count("\n") == 1, captured.err
    return captured.err


def test_the_small_model_itself_is_taken(small, tmp_path):
    """So that each case below is refused for its own reason."""
    assert importer.read(edited(small, tmp_path / "net.h5", lambda layers, model: None)).network.outputs == ("class",)


def setting(layer, **values):
    return lambda layers, model: layers[layer]["config"].update(values)


def kind(layer, name):
    return lambda layers, model: layers[layer].update(class_name=name)


def call(layer, **values):
    """Changes of a layer's only call."""
    return lambda layers, model: layers[layer]["inbound_nodes"][0].update(values)


def tensor(name):
    return {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}


def quantizer(name, **settings):
    return {"module": "m", "class_name": name, "config": settings, "registered_name": f"Larq>{name}"}


CONFIGS = {
    "flattened channels first": (setting("flat", data_format="channels_first"),
                                 "node 'flat' (Flatten): its data_format is channels_first"),
    "mask": (setting("conv", mask=[[0, 1, 0]] * 3), "its mask is [[0, 1, 0], [0, 1, 0], [0, 1, 0]]"),
    "lora": (setting("conv", lora_rank=2), "its lora_rank is 2"),
    "code": (kind("pool", "Lambda"), "node 'pool' (Lambda): it holds Python code, which is never run"),
    "op": (kind("pool", "TFOpLambda"), "it holds Python code, which is never run"),
    "unknown": (kind("pool", "LSTM"), "node 'pool' (LSTM): this layer is not known; accepted: InputLayer, Dense, "),
    "own": (kind("conv", "Mine>QuantConv2D"), "node 'conv' (Mine>QuantConv2D): this layer is not known"),
    "inner model": (kind("pool", "Functional"), "it is a model inside the model"),
    "subclass": (lambda layers, model: model.update(layers=[]), "its model_config lists no layers"),
    "channels first": (setting("conv", data_format="channels_first"), "its data_format is channels_first; accepted: channels_l"),
    "dilation": (setting("conv", dilation_rate=[2, 2]), "its dilation_rate is [2, 2]"),
    "groups": (setting("conv", groups=2), "its groups is 2; accepted: 1"),
    "padding": (setting("conv", padding="causal"), "its padding is 'causal'; accepted: valid or same"),
    "half floats": (setting("conv", dtype={"class_name": "DTypePolicy", "config": {"name": "mixed_float16"}}),
                    "it computes in mixed_float16; accepted: float32 or float64"),
    "real weights": (setting("conv", kernel_quantizer=None), "output channel 0 has weights of magnitudes"),
    "unknown quantizer": (setting("conv", kernel_quantizer="xnor"), "the function 'xnor' is not known; accepted: ste_sign, "),
    "own quantizer": (setting("conv", kernel_quantizer=quantizer("SteSign") | {"registered_name": "Mine>SteSign"}),
                      "the function 'Mine>SteSign' is not known"),
    "code as quantizer": (setting("signs", activation="__import__('os').mkdir('ran')"),
                          "its quantizer is written as \"__import__('os').mkdir('ran')\""),
    "code as setting": (setting("signs", activation="binary(alpha=open('ran','w'))"), "its quantizer is written as"),
    "nested call": (setting("signs", activation="binary(" * 50 + ")" * 50), "its quantizer is written as"),
    "unknown setting": (setting("signs", activation="binary(flavour=3)"), "binary with the settings flavour=3 is not known"),
    "weights' tanh": (setting("conv", kernel_quantizer=quantizer("DoReFa", k_bit=2, mode="weights")),
                      "DoReFa's mode 'weights' of weights is a tanh"),
    "scale of the batch": (setting("dense", input_quantizer=quantizer("MagnitudeAwareSign")),
                           "its scale depends on the tensor that it quantizes"),
    "clip of weights": (setting("conv", kernel_quantizer="relu"), "it is no quantizer of weights"),
    "alpha": (setting("signs", activation="binary(alpha=-1)"), "its alpha is -1; accepted: a positive number"),
    "threshold": (setting("dense", input_quantizer=quantizer("SteTern", threshold_value=-0.5)), "its threshold is -0.5"),
    "bits": (setting("signs", activation="quantized_relu(9)"), "its bits is 9; accepted: an integer from 1 to 8"),
    "random": (setting("signs", activation="quantized_bits(2,use_stochastic_rounding=True)"), "its use_stochastic_rounding is"),
    "sigmoid": (setting("signs", activation="sigmoid"), "the function 'sigmoid' is not known"),
    "softmax": (setting("signs", activation="softmax"), "node 'signs' (Activation): its softmax goes on"),
    "pool pads": (setting("pool", padding="same", pool_size=[3, 3]), "node 'pool' (MaxPooling2D): it pads by (0, 1, 0, 1)"),
    "axis": (setting("norm", axis=1), "its axis is 1; accepted: -1 or 3"),
    "epsilon": (setting("norm", epsilon=float("nan")), "the batch norm's epsilon is nan"),
    "strides": (setting("conv", strides=[0, 1]), "its strides is [0, 1]; accepted: one or two positive integers"),
    "filters": (setting("conv", filters=2**31 - 1), "'kernel' have shape (3, 3, 1, 4); accepted: (3, 3, 1, 2147483647)"),
    "kernel": (setting("conv", kernel_size=[9, 9]), "its weights 'kernel' have shape (3, 3, 1, 4)"),
    "no vector": (kind("flat", "Dropout"), "node 'dense' (Larq>QuantDense): its input has the shape (1, 2, 2, 4)"),
    "padded": (lambda layers, model: (kind("norm", "ZeroPadding2D")(layers, model), kind("signs", "Flatten")(layers, model)),
               "accepted: a convolution behind ZeroPadding2D"),
    "training": (call("norm", kwargs={"training": True}), "it is called with {'training': True}"),
    "constant": (call("sum", args=[tensor("norm"), 2.0]), "it is called with {1: 2.0}"),
    "shapes": (call("sum", args=[[tensor("norm"), tensor("x")]]), "it adds tensors (1, 4, 4, 4) (NHWC) and (1, 6, 6, 1) (NHWC)"),
    "cycle": (call("conv", args=[tensor("signs")]), "its layers form a cycle"),
    "missing layer": (call("conv", args=[tensor("y")]), "layer 'conv' takes the layer 'y', which is not there"),
    "connection": (call("conv", args=7), "its model_config has a damaged connection"),
    "open shape": (setting("x", batch_shape=[None, None, 6, 1]), "input 'x' has the shape ('?', '?', 6, 1)"),
    "batch": (setting("x", batch_shape=[32, 6, 6, 1]), "input 'x' has a fixed batch of 32; accepted: a batch of 1"),
    "huge input": (setting("x", batch_shape=[None, 2**20, 2**20, 1]), "its result has 1099511627776 elements"),
    "two inputs": (lambda layers, model: model.update(input_layers=[["x", 0, 0], ["x", 0, 0]]), "the model has 2 inputs"),
    "two outputs": (lambda layers, model: model.update(output_layers=[["end", 0, 0], ["sum", 0, 0]]), "the model has 2 outputs"),
    "map as output": (lambda layers, model: (layers["end"]["config"].update(activation="linear"),
                                             model.update(output_layers=["sum", 0, 0])),
                      "the model's output has the shape (1, 4, 4, 4); accepted: scores (N, classes)"),
    "same name": (lambda layers, model: model["layers"].append(layers["conv"]), "two layers are called 'conv'"),
    "many layers": (lambda layers, model: model["layers"].extend([layers["conv"]] * 5000), "it has 5010 layers; accepted: up to"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_settings(case, here, small, tmp_path, capsys):
    change, wanted = CONFIGS[case]
    assert wanted in message(edited(small, tmp_path / "net.h5", config=change), capsys)
    assert not (tmp_path / "ran").exists()


KERNEL, NORM = "model_weights/conv/conv/kernel", "model_weights/norm/norm"


def replaced(path, make):
    def change(file):
        del file[path]
        make(file)
    return change


def value(path, number):
    def change(file):
        file[path][(0,) * file[path].ndim] = number
    return change


def constant_channel(file):
    file[f"{NORM}/moving_variance"][0] = -0.001


def virtual(file):
    layout = h5py.VirtualLayout((3, 3, 1, 4), "f4")
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", (3, 3, 1, 4))
    file.create_virtual_dataset(KERNEL, layout)


def attribute(name, data):
    def change(file):
        if name in file.attrs:
            del file.attrs[name]
        if data is not None:
            file.attrs[name] = data
    return change


WEIGHTS = {
    "missing group": (replaced("model_weights/conv", lambda file: None), "the file has no 'model_weights/conv'"),
    "missing weights": (replaced(KERNEL, lambda file: None), "the file has no 'conv/kernel'"),
    "nan": (value(KERNEL, np.nan), "node 'conv' (Larq>QuantConv2D): its weights 'kernel' hold nan; accepted: finite numbers"),
    "infinite": (value(f"{NORM}/gamma", np.inf), "its weights 'gamma' hold inf"),
    "variance": (value(f"{NORM}/moving_variance", -0.5), "channel 0: the batch norm's variance is -0.5"),
    "zero variance": (constant_channel, "the batch norm's variance is -0.001"),
    "shape": (replaced(KERNEL, lambda file: file.create_dataset(KERNEL, (3, 3, 4), "f4", np.ones((3, 3, 4)))),
              "its weights 'kernel' have shape (3, 3, 4); accepted: (3, 3, 1, 4)"),
    "integers": (replaced(KERNEL, lambda file: file.create_dataset(KERNEL, (3, 3, 1, 4), "i4")), "are not an array of floats"),
    "group": (replaced(KERNEL, lambda file: file.create_group(KERNEL)), "are not an array of floats"),
    "huge": (replaced(KERNEL, lambda file: file.create_dataset(KERNEL, (2**31,), "f4", chunks=(1024,))),
             "its weights 'kernel' have shape (2147483648,); accepted: up to 67108864 elements"),
    "huge chunk": (replaced(KERNEL, lambda file: file.create_dataset(KERNEL, (3, 3, 1, 4), "f4", chunks=(2**10, 2**10, 1, 2**8),
                                                                     maxshape=(None,) * 4)), "accepted: up to 67108864 elements"),
    "not stored": (replaced(KERNEL, lambda file: file.create_dataset(KERNEL, (2**12, 2**13), "f4", chunks=(1024, 1024))),
                   "of shape (4096, 8192) are not stored"),
    "external link": (replaced(KERNEL, lambda file: file.__setitem__(KERNEL, h5py.ExternalLink("/etc/passwd", "x"))),
                      "'conv/kernel' is a link to another place or file"),
    "soft link": (replaced(KERNEL, lambda file: file.__setitem__(KERNEL, h5py.SoftLink("/model_weights/side/side/kernel"))),
                  "'conv/kernel' is a link to another place or file; accepted: weights in the file itself"),
    "linked group": (replaced("model_weights", lambda file: file.__setitem__("model_weights", h5py.ExternalLink("o.h5", "/"))),
                     "'model_weights/conv' is a link"),
    "external storage": (replaced(KERNEL, lambda file: file.create_dataset(KERNEL, (3, 3, 1, 4), "f4",
                                                                           external=[("/etc/passwd", 0, 144)])),
                         "its weights 'kernel' are kept in another file"),
    "virtual": (replaced(KERNEL, virtual), "its weights 'kernel' are kept in another file"),
    "names": (lambda file: file["model_weights/conv"].attrs.__setitem__("weight_names", np.array([b"k"] * 2000)),
              "its attribute 'weight_names' has 2000 elements"),
    "same names": (lambda file: file["model_weights/conv"].attrs.__setitem__("weight_names", [b"a/kernel", b"b/kernel"]),
                   "it has two weights 'kernel'"),
    "weights alone": (attribute("model_config", None), "it has no model_config: not a Keras model, or its weights alone"),
    "no text": (attribute("model_config", 7), "its model_config is not a text"),
    "no JSON": (attribute("model_config", "{"), "its model_config is no JSON"),
    "no model": (attribute("model_config", "[]"), "its model_config does not describe a model"),
    "class": (attribute("model_config", '{"class_name": "Mine>Net", "config": {}}'), "it is a model of the class 'Mine>Net'"),
    "deep": (attribute("model_config", "[" * 60000 + "]" * 60000), "its model_config is nested too deeply"),
    "long": (attribute("model_config", " " * (2**24 + 1)), "its model_config has 16777217 characters"),
    "long number": (attribute("model_config", '{"class_name": ' + "9" * 60000 + "}"), "its model_config is no JSON"),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_and_file(case, small, tmp_path, capsys):
    change, wanted = WEIGHTS[case]
    assert wanted in message(edited(small, tmp_path / "net.h5", weights=change), capsys)


def test_real_code_is_not_run(tmp_path, capsys):
    """A Lambda layer that Keras itself saves, with its marshalled code."""
    model = keras.Sequential([L.Input((4,)), L.Lambda(lambda x: x, name="own"), larq.QuantDense(2, kernel_quantizer="ste_sign")])
    model.save(tmp_path / "net.h5")
    assert "node 'own' (Lambda): it holds Python code, which is never run" in message(tmp_path / "net.h5", capsys)


def test_all_problems_at_once(small, tmp_path, capsys):
    def change(layers, model):
        layers["conv"]["config"]["groups"] = 2
        layers["pool"]["class_name"] = "LSTM"
        layers["dense"]["config"]["input_quantizer"] = "xnor"
    path = edited(small, tmp_path / "net.h5", change, value(f"{NORM}/gamma", np.nan))
    with pytest.raises(Refusal) as error:
        importer.read(path)
    assert [problem.node for problem in error.value.problems] == ["conv", "norm", "pool", "dense"]
    assert cli.main(["import", str(path), "--check"]) == 1
    assert capsys.readouterr().out.count("\n") == 4


@pytest.mark.parametrize("seed", range(8))
def test_damaged_files(seed, small, tmp_path):
    """Cut off, or with some bytes changed: taken or refused, no traceback, no end of the process."""
    rng = np.random.default_rng(seed)
    data = bytearray(small)
    for place in rng.integers(8, [3000, len(data)][seed % 2], 4):
        data[place] = rng.integers(256)
    (tmp_path / "net.h5").write_bytes(data if seed % 4 else data[:rng.integers(9, len(data))])
    try:
        importer.read(tmp_path / "net.h5")
    except Refusal as error:
        assert error.problems


def test_damage_without_end(small, tmp_path, monkeypatch, capsys):
    """HDF5 was seen to read on for ever; the process that reads is ended."""
    monkeypatch.setattr("bnnhw.importers.keras_file.SECONDS", 0)
    monkeypatch.setattr("bnnhw.importers.keras_file.WAITING", 0.01)
    assert "it is damaged: HDF5 does not come to an end with it" in message(edited(small, tmp_path / "net.h5"), capsys)
