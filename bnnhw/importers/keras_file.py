"""Keras' whole-model .h5 files: the model's JSON and the layers' weights, read with h5py alone.

Nothing is believed before it is checked: links must be plain ones inside the file, sizes are looked at before data is read, and
no code that a file may hold is run.
"""

import json
import math
from contextlib import contextmanager

import h5py
import numpy as np

from .problems import Problem, Refusal
from .rational import Inexpressible

__all__ = ["DAMAGE", "Stored", "opened"]

MOST_BYTES = 2**31      # of a file
MOST_TEXT = 2**24       # of the model's JSON
MOST_ELEMENTS = 2**26   # of one array, and of one of its chunks
MOST_NAMES = 2**10      # weights of one layer
DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, IndexError, OverflowError, MemoryError,
          RecursionError)


def _text(value, what):
    value = value.decode("utf-8") if isinstance(value, bytes) else value
    if not isinstance(value, str):
        raise Inexpressible(f"its {what} is not a text")
    return value


def _attribute(group, name):
    """An attribute, None where there is none; at most :data:`MOST_NAMES` elements."""
    if name not in group.attrs:
        return None
    shape = group.attrs.get_id(name).shape
    if math.prod(shape) > MOST_NAMES:
        raise Inexpressible(f"its attribute {name!r} has {math.prod(shape)} elements", f"up to {MOST_NAMES}")
    return group.attrs[name]


def _inside(group, path):
    """The object at a path; every link on the way must be a hard one, which cannot lead out of the file."""
    for part in path.split("/"):
        if not isinstance(group, h5py.Group) or (link := group.get(part, getlink=True)) is None:
            raise Inexpressible(f"the file has no {path!r}")
        if not isinstance(link, h5py.HardLink):
            raise Inexpressible(f"{path!r} is a link to another place or file", "weights in the file itself")
        group = group[part]
    return group


class Stored:
    """An open file.

    Attributes
    ----------
    model : dict
        The model's class_name and config.
    versions : dict
        keras_version and backend, where the file says them.
    """
    def __init__(self, file):
        self.file = file
        text = _attribute(file, "model_config")
        if text is None:
            raise Inexpressible("it has no model_config: not a Keras model, or its weights alone",
                                "the whole model, as model.save('net.h5') writes it")
        text = _text(text, "model_config")
        if len(text) > MOST_TEXT:
            raise Inexpressible(f"its model_config has {len(text)} characters", f"up to {MOST_TEXT}")
        try:
            self.model = json.loads(text)
        except RecursionError:
            raise Inexpressible("its model_config is nested too deeply") from None
        except ValueError as error:
            raise Inexpressible(f"its model_config is no JSON: {error}") from None
        if not isinstance(self.model, dict):
            raise Inexpressible("its model_config does not describe a model")
        self.versions = {key: _text(value, key)[:100] for key in ("keras_version", "backend")
                         if (value := _attribute(file, key)) is not None}

    @contextmanager
    def _layer(self, layer):
        """The group of a layer, and the paths of its weights by name; what is damaged in it is refused."""
        try:
            group = _inside(self.file, f"model_weights/{layer}")
            parts = [_attribute(group, "weight_names")]
            while len(parts) < MOST_NAMES and (part := _attribute(group, f"weight_names{len(parts) - 1}")) is not None:
                parts.append(part)      # a long list is split over several attributes
            paths = {}
            for path in (_text(path, "weight_names") for part in parts if part is not None for path in part):
                name = path.rpartition("/")[2].partition(":")[0]
                if name in paths:
                    raise Inexpressible(f"it has two weights {name!r}")
                paths[name] = path
            yield group, paths
        except Inexpressible:
            raise
        except DAMAGE as error:
            said = " ".join(str(error).split())
            raise Inexpressible(f"its weights cannot be read: {said}") from None

    def names(self, layer):
        """What weights of a layer the file has, as Keras calls them, without scope."""
        with self._layer(layer) as (_, paths):
            return tuple(paths)

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
        with self._layer(layer) as (group, paths):
            return {name: self._array(group, name, paths, shape) for name, shape in shapes.items()}

    @staticmethod
    def _array(group, name, paths, shape):
        if name not in paths:
            raise Inexpressible(f"the file has no weights {name!r} of it", f"{name!r} of shape {shape}")
        data = _inside(group, paths[name])
        if not isinstance(data, h5py.Dataset) or data.dtype.kind != "f":
            raise Inexpressible(f"its weights {name!r} are not an array of floats")
        if data.is_virtual or data.external:
            raise Inexpressible(f"its weights {name!r} are kept in another file", "weights in the file itself")
        if data.shape != shape:
            raise Inexpressible(f"its weights {name!r} have shape {data.shape}", f"{shape}")
        if max(math.prod(shape), math.prod(data.chunks or ())) > MOST_ELEMENTS:
            raise Inexpressible(f"its weights {name!r} have {math.prod(shape)} elements", f"up to {MOST_ELEMENTS}")
        array = np.asarray(data[()])
        if not np.isfinite(array).all():
            raise Inexpressible(f"its weights {name!r} hold {array[~np.isfinite(array)][0]}", "finite numbers")
        return array.astype(np.float64 if array.dtype.itemsize > 4 else np.float32)


@contextmanager
def opened(path):
    """A :class:`Stored`; raises :exc:`~bnnhw.importers.problems.Refusal` where the file is none that can be read."""
    def refused(reason, accepted=""):
        return Refusal(path, [Problem("", "", reason, accepted)])
    if path.stat().st_size > MOST_BYTES:
        raise refused(f"it has {path.stat().st_size} bytes", f"up to {MOST_BYTES}")
    try:
        file = h5py.File(path, "r")
    except DAMAGE as error:
        raise refused(f"it is damaged: {' '.join(str(error).split())}") from None
    with file:
        try:
            stored = Stored(file)
        except Inexpressible as error:
            raise refused(error.reason, error.accepted) from None
        except DAMAGE as error:
            raise refused(f"it is damaged: {' '.join(str(error).split())}") from None
        yield stored
