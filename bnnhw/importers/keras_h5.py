"""Takes Keras' .h5 files apart, in a process of its own: ``python -m bnnhw.importers.keras_h5 FILE``.

The HDF5 library was seen to run without end on files with a few damaged bytes, and may do worse; here its time and memory are
limited. Nothing is believed before it is checked: links must be plain ones inside the file, sizes are looked at before data is
read, and no code that a file may hold is run.

What it writes to its standard output is a line of JSON, then the arrays that the line speaks of, one after the other:
``{"problem": [reason, accepted]}``, or ``model`` (text), ``versions`` (name -> text) and ``layers``, whose values are a problem
or name -> problem or ``{"type": "<f4", "shape": [...]}``.
"""

import json
import math
import resource
import sys
from contextlib import suppress

import h5py
import numpy as np

from .keras_graph import graph_of
from .rational import Inexpressible

__all__ = ["MOST_TEXT", "contents"]

MOST_TEXT = 2**24       # of the model's JSON
MOST_ELEMENTS = 2**26   # of all arrays together, and of a chunk
MOST_NAMES = 2**10      # weights of one layer
MOST_SPARE = 2**11      # how much smaller the stored bytes may be than the array's; zlib compresses by 1032 at most
MOST_MEMORY = 2**32
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


def _paths(group):
    """The paths of a layer's weights by their names without scope."""
    parts = [_attribute(group, "weight_names")]
    while len(parts) < MOST_NAMES and (part := _attribute(group, f"weight_names{len(parts) - 1}")) is not None:
        parts.append(part)      # a long list is split over several attributes
    found = {}
    for path in (_text(path, "weight_names") for part in parts if part is not None for path in part):
        name = path.rpartition("/")[2].partition(":")[0]
        if name in found:
            raise Inexpressible(f"it has two weights {name!r}")
        found[name] = path
    return found


def _array(group, name, path, room):
    """An array of at most ``room`` elements."""
    data = _inside(group, path)
    if not isinstance(data, h5py.Dataset) or data.dtype.kind != "f" or data.dtype.itemsize > 8:
        raise Inexpressible(f"its weights {name!r} are not an array of floats of up to 64 bits")
    if data.is_virtual or data.external:
        raise Inexpressible(f"its weights {name!r} are kept in another file", "weights in the file itself")
    if max(data.size, math.prod(data.chunks or ())) > room:
        raise Inexpressible(f"its weights {name!r} have shape {data.shape}", f"up to {MOST_ELEMENTS} elements in all layers")
    if data.id.get_storage_size() * MOST_SPARE < data.nbytes:
        raise Inexpressible(f"its weights {name!r} of shape {data.shape} are not stored")
    array = np.asarray(data[()])
    return array.astype("<f8" if array.dtype.itemsize > 4 else "<f4")


def _problem(error):
    known = isinstance(error, Inexpressible)
    said = error.reason if known else f"its weights cannot be read: {' '.join(str(error).split())}"
    return {"problem": [said, error.accepted if known else ""]}


def _weights(file, layer, arrays):
    found = {}
    try:
        group = _inside(file, f"model_weights/{layer}")
        paths = _paths(group)
    except (Inexpressible, *DAMAGE) as error:
        return _problem(error)
    for name, path in paths.items():
        try:
            array = _array(group, name, path, MOST_ELEMENTS - sum(array.size for array in arrays))
        except (Inexpressible, *DAMAGE) as error:
            found[name] = _problem(error)
            continue
        arrays.append(array)
        found[name] = {"type": array.dtype.str, "shape": array.shape}
    return found


def contents(path):
    """(what the line of JSON says, list of arrays)."""
    arrays = []
    try:
        with h5py.File(path, "r") as file:
            text = _attribute(file, "model_config")
            if text is None:
                raise Inexpressible("it has no model_config: not a Keras model, or its weights alone",
                                    "the whole model, as model.save('net.h5') writes it")
            text = _text(text, "model_config")
            if len(text) > MOST_TEXT:
                raise Inexpressible(f"its model_config has {len(text)} characters", f"up to {MOST_TEXT}")
            versions = {key: _text(value, key)[:100] for key in ("keras_version", "backend")
                        if (value := _attribute(file, key)) is not None}
            names = ()
            with suppress(Inexpressible, *DAMAGE):      # who reads this says what is wrong with it
                names = dict.fromkeys(layer.name for layer in graph_of(json.loads(text)).layers)
            return {"model": text, "versions": versions, "layers": {name: _weights(file, name, arrays) for name in names}}, arrays
    except Inexpressible as error:
        return _problem(error), []
    except DAMAGE as error:
        return {"problem": [f"it is damaged: {' '.join(str(error).split())}", ""]}, []


def main(path, seconds):
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY, MOST_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    header, arrays = contents(path)
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n")
    for array in arrays:
        sys.stdout.buffer.write(array.tobytes())


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
