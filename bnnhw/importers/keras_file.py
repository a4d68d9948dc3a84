"""Keras' whole-model .h5 files: the model's JSON and the layers' weights, as :mod:`bnnhw.importers.keras_h5` takes them apart."""

import importlib.util
import json
import math
import subprocess
import sys

import numpy as np

from .problems import Problem, Refusal
from .rational import Inexpressible

__all__ = ["Stored", "stored_in"]

MOST_BYTES = 2**31      # of a file
SECONDS = 3             # of processor time
BYTES_PER_SECOND = 2**24
WAITING = 20            # how much longer it may take on a busy machine


class Stored:
    """What a file holds.

    Attributes
    ----------
    model : dict
        The model's class_name and config.
    versions : dict
        keras_version and backend, where the file says them.
    """
    def __init__(self, header, data):
        self.versions, self.layers, place = header["versions"], header["layers"], 0
        for entry in (entry for weights in self.layers.values() if "problem" not in weights for entry in weights.values()):
            if "problem" not in entry:
                count = math.prod(entry["shape"])
                entry["array"] = np.frombuffer(data, entry["type"], count, place).reshape(entry["shape"])
                place += entry["array"].nbytes
        try:
            self.model = json.loads(header["model"])
        except RecursionError:
            raise Inexpressible("its model_config is nested too deeply") from None
        except ValueError as error:
            raise Inexpressible(f"its model_config is no JSON: {error}") from None
        if not isinstance(self.model, dict):
            raise Inexpressible("its model_config does not describe a model")

    def names(self, layer):
        """What weights of a layer the file has, as Keras calls them, without scope."""
        weights = self.layers[layer]
        if "problem" in weights:
            raise Inexpressible(*weights["problem"])
        return tuple(weights)

    def weights(self, layer, shapes):
        """The weights of a layer.

        Parameters
        ----------
        layer : str
        shapes : dict
            Name -> the shape that it must have.

        Returns
        -------
        dict of finite float arrays, for the same names.
        """
        names, found = self.names(layer), {}
        for name, shape in shapes.items():
            if name not in names:
                raise Inexpressible(f"the file has no weights {name!r} of it", f"{name!r} of shape {shape}")
            entry = self.layers[layer][name]
            if "problem" in entry:
                raise Inexpressible(*entry["problem"])
            found[name] = array = entry["array"]
            if array.shape != shape:
                raise Inexpressible(f"its weights {name!r} have shape {array.shape}", f"{shape}")
            if not np.isfinite(array).all():
                raise Inexpressible(f"its weights {name!r} hold {array[~np.isfinite(array)][0]}", "finite numbers")
        return found


def stored_in(path):
    """What the file at ``path`` holds; raises :exc:`~bnnhw.importers.problems.Refusal` where it is none that can be read."""
    def refused(reason, accepted=""):
        return Refusal(path, [Problem("", "", reason, accepted)])
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise refused(f"it has {size} bytes", f"up to {MOST_BYTES}")
    if importlib.util.find_spec("h5py") is None:
        raise refused("the package h5py, which reads it, is not installed", "pip install 'bnnhw[onnx]'")
    seconds = SECONDS + size // BYTES_PER_SECOND
    command = [sys.executable, "-P", "-m", f"{__package__}.keras_h5", str(path.resolve()), str(seconds)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds + WAITING)
    except subprocess.TimeoutExpired:
        raise refused(f"it is damaged: HDF5 does not come to an end with it in {seconds + WAITING} s") from None
    if done.returncode:
        said = [f"signal {-done.returncode}"] if done.returncode < 0 else done.stderr.decode(errors="replace").split("\n")
        how = next((line for line in reversed(said) if line), "")
        raise refused(f"it is damaged: HDF5 cannot take it apart within {seconds} s and 4 GiB ({how[:200]})")
    line, _, data = done.stdout.partition(b"\n")
    header = json.loads(line)
    if "problem" in header:
        raise refused(*header["problem"])
    try:
        return Stored(header, data)
    except Inexpressible as error:
        raise refused(error.reason, error.accepted) from None
