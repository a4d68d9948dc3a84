"""What a Keras model's JSON says: its layers, in an order in which they can be computed, and their settings.

Both spellings are read: Keras 2 writes a call of a layer as a list of [layer, call, output, keywords], Keras 3 as nested
arguments that hold ``__keras_tensor__`` dictionaries.
"""

from dataclasses import dataclass, field

from .rational import Inexpressible

__all__ = ["Layer", "Graph", "graph_of", "bare", "named"]

MOST_CALLS = 2**12
FLOATS = ("float32", "float64")
PACKAGES = ("Larq", "QKeras", "qkeras")     # that register layers and quantizers


def bare(name):
    """The name of a class or function without the package that it is registered under, where that is a known one."""
    package, _, rest = name.rpartition(">")
    return rest if package in PACKAGES else name


def named(spec):
    """(name, settings) of a function or object as Keras writes it: a name, or a class with its settings."""
    if isinstance(spec, str):
        return bare(spec), {}
    if not isinstance(spec, dict) or not isinstance(spec.get("class_name"), str):
        raise Inexpressible(f"a function is given as {str(spec)[:60]}", "a name, or a class_name with its config")
    name, settings = spec["class_name"], spec.get("config")
    if name == "function" or isinstance(settings, str):     # Keras 3's way to write a function's name
        return bare(settings) if isinstance(settings, str) else name, {}
    registered = spec.get("registered_name")
    name = registered if isinstance(registered, str) and ">" in registered else name
    return bare(name), settings if isinstance(settings, dict) else {}


@dataclass(frozen=True)
class Layer:
    """One call of a layer.

    Attributes
    ----------
    name : str
    kind : str
        The class: of Keras itself bare, of others "Package>Class" where the file says the package.
    config : dict
    key : (str, int)
        Name and number of the call.
    inputs : tuple of keys
    arguments : dict
        Further ones of the call that are not None; positional ones under their number.
    """
    name: str
    kind: str
    config: dict
    key: tuple
    inputs: tuple = ()
    arguments: dict = field(default_factory=dict)

    def setting(self, key, kinds, what, default=None):
        """A setting that must be of one of the types ``kinds``."""
        value = self.config.get(key, default)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise Inexpressible(f"its {key} is {str(value)[:60]}", what)
        return value

    def integer(self, key):
        value = self.setting(key, (int,), "a positive integer")
        if not 0 < value < 2**31:
            raise Inexpressible(f"its {key} is {value}", "a positive integer")
        return value

    def flag(self, key, default):
        return self.setting(key, (bool,), "true or false", default)

    def number(self, key, default):
        return self.setting(key, (int, float), "a number", default)

    def text(self, key, default=None):
        return self.setting(key, (str,), "a name", default)

    def pair(self, key, default=None):
        """Two positive integers: for rows and columns."""
        value = self.config.get(key)
        value = default if value is None and default is not None else [value] * 2 if isinstance(value, int) else value
        if not isinstance(value, (list, tuple)) or len(value) != 2 or not all(
                isinstance(v, int) and not isinstance(v, bool) and 0 < v < 2**31 for v in value):
            raise Inexpressible(f"its {key} is {str(value)[:60]}", "one or two positive integers")
        return tuple(value)

    def only(self, key, *accepted):
        """Raises where a setting that the file has is none of ``accepted``."""
        if key in self.config and self.config[key] not in accepted:
            raise Inexpressible(f"its {key} is {str(self.config[key])[:60]}", " or ".join(map(str, accepted)))

    def check_type(self):
        """Raises where the layer does not compute in float32 or float64."""
        spec = self.config.get("dtype")
        name = spec.get("config", {}).get("name") if isinstance(spec, dict) and isinstance(spec.get("config"), dict) else spec
        if name not in (None, *FLOATS):
            raise Inexpressible(f"it computes in {str(name)[:60]}", " or ".join(FLOATS))


@dataclass(frozen=True)
class Graph:
    """A model.

    Attributes
    ----------
    inputs : tuple of Layer
        With their "shape" (without the batch, None where it is open) and "dtype" as their config.
    layers : tuple of Layer
        Each behind its inputs.
    outputs : tuple of keys
    """
    inputs: tuple
    layers: tuple
    outputs: tuple


def _layers(config):
    """The descriptions of a model's layers."""
    layers = config.get("layers") if isinstance(config, dict) else config       # a bare list in Keras 1 and 2.0
    if not isinstance(layers, list) or not layers:
        raise Inexpressible("its model_config lists no layers")
    if len(layers) > MOST_CALLS:
        raise Inexpressible(f"it has {len(layers)} layers", f"up to {MOST_CALLS}")
    for k, layer in enumerate(layers):
        known = isinstance(layer, dict) and isinstance(layer.get("class_name"), str)
        if not known or not isinstance(layer.get("config"), dict):
            raise Inexpressible(f"layer {k} of its model_config has no class_name or config")
    return layers


def _name(layer, k):
    name = layer.get("name", layer["config"].get("name", f"layer_{k}"))
    if not isinstance(name, str) or not name:
        raise Inexpressible(f"layer {k} of its model_config has no name")
    return name


def _input(name, kind, shape, dtype):
    if not isinstance(shape, list) or not shape or not all(
            size is None or (isinstance(size, int) and not isinstance(size, bool)) for size in shape):
        raise Inexpressible(f"input {name!r} has no shape", "a model whose input shape is known")
    return Layer(name, kind, {"shape": tuple(shape), "dtype": dtype}, (name, 0))


def _sequential(config):
    layers = _layers(config)
    first, rest = layers[0], layers[1:]
    own = first["config"]
    shape = own.get("batch_input_shape", own.get("batch_shape"))
    if shape is None and isinstance(config, dict):
        shape = config.get("build_input_shape")
    name = _name(first, 0)
    if first["class_name"] != "InputLayer":
        name, rest = f"{name}_input", layers
    source = _input(name, "InputLayer", shape, own.get("dtype", "float32") if first["class_name"] == "InputLayer" else "float32")
    calls, before = [], source.key
    for k, layer in enumerate(rest, 1):
        calls.append(Layer(_name(layer, k), layer["class_name"], layer["config"], (_name(layer, k), 0), (before,)))
        before = calls[-1].key
    if len({call.key for call in calls} | {source.key}) <= len(calls):
        raise Inexpressible("two layers have the same name")
    return Graph((source,), tuple(calls), (before,))


def _key(entry):
    """(layer, call) of [layer, call, output]."""
    if not isinstance(entry, (list, tuple)) or len(entry) < 3 or not isinstance(entry[0], str) or not all(
            isinstance(v, int) for v in entry[1:3]):
        raise Inexpressible(f"its model_config has a damaged connection {str(entry)[:60]}")
    if entry[2]:
        raise Inexpressible(f"output {entry[2]} of layer {entry[0]!r} is used", "layers with one output")
    return entry[0], entry[1]


def _call(node):
    """(inputs, arguments) of one entry of a layer's inbound_nodes."""
    inputs, arguments = [], {}

    def collect(value, place):
        if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
            config = value.get("config")
            inputs.append(_key(config.get("keras_history") if isinstance(config, dict) else None))
        elif isinstance(value, list) and value:
            for part in value:
                collect(part, place)
        elif value is not None:
            arguments[place] = value
    if isinstance(node, dict):
        positional, keywords = node.get("args"), node.get("kwargs")
        if not isinstance(positional, list) or not isinstance(keywords, dict):
            raise Inexpressible("its model_config has a damaged connection")
        for k, value in enumerate(positional):
            collect(value, k)
        for key, value in keywords.items():
            collect(value, key)
        return tuple(inputs), arguments
    if not isinstance(node, list):
        raise Inexpressible("its model_config has a damaged connection")
    for entry in node:
        inputs.append(_key(entry))
        if len(entry) > 3 and isinstance(entry[3], dict):
            arguments |= {key: value for key, value in entry[3].items() if value is not None}
    return tuple(inputs), arguments


def _ends(config, what):
    """The keys of a model's input_layers or output_layers."""
    ends = config.get(what)
    if isinstance(ends, list) and ends and isinstance(ends[0], str):        # Keras 3, of a single one
        ends = [ends]
    if not isinstance(ends, list) or not ends:
        raise Inexpressible(f"its model_config has no {what}", "a list of layers")
    return tuple(map(_key, ends))


def _functional(config):
    layers = _layers(config)
    found, inputs = {}, {}
    for k, layer in enumerate(layers):
        name, own, nodes = _name(layer, k), layer["config"], layer.get("inbound_nodes", [])
        if not isinstance(nodes, list):
            raise Inexpressible(f"layer {name!r} has no list of connections")
        if layer["class_name"] == "InputLayer":
            inputs[name, 0] = _input(name, "InputLayer", own.get("batch_input_shape", own.get("batch_shape")),
                                     own.get("dtype", "float32"))
        for number, node in enumerate(nodes):
            sources, arguments = _call(node)
            if (name, number) in found or (name, number) in inputs:
                raise Inexpressible(f"two layers are called {name!r}")
            found[name, number] = Layer(name, layer["class_name"], own, (name, number), sources, arguments)
        if len(found) > MOST_CALLS:
            raise Inexpressible(f"it has more than {MOST_CALLS} calls of layers")
    sources = tuple(inputs.get(key) for key in _ends(config, "input_layers"))
    outputs = _ends(config, "output_layers")
    if None in sources:
        raise Inexpressible("one of its input_layers is no InputLayer")
    ordered, done = [], set(inputs)
    waiting = dict(found)
    while waiting:
        ready = [key for key, call in waiting.items() if all(source in done for source in call.inputs)]
        if not ready:
            key = next(iter(waiting))
            missing = [name for name, number in waiting[key].inputs if (name, number) not in found | inputs]
            raise Inexpressible(f"layer {key[0]!r} takes the layer {missing[0]!r}, which is not there" if missing
                                else f"its layers form a cycle, in which {key[0]!r} stands or leads to")
        ordered += [waiting.pop(key) for key in ready]
        done.update(ready)
    if wrong := [key[0] for key in outputs if key not in done]:
        raise Inexpressible(f"its output {wrong[0]!r} is no layer")
    return Graph(sources, tuple(ordered), outputs)


def graph_of(model):
    """The :class:`Graph` of a model's JSON; raises :exc:`~bnnhw.importers.rational.Inexpressible`."""
    kind, config = model.get("class_name"), model.get("config")
    if kind == "Sequential" and isinstance(config, (dict, list)):
        return _sequential(config)
    if kind in ("Functional", "Model") and isinstance(config, dict):
        return _functional(config)
    raise Inexpressible(f"it is a model of the class {str(kind)[:60]!r}", "Sequential or Functional models")
