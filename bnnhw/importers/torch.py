"""PyTorch modules, traced with torch.fx.

The user declares what their own sign functions are (modules, functions, or :class:`torch.autograd.Function` classes); each is
found out by trying it. Everything else is followed through to torch's own operations. Whatever does not depend on the input,
such as ``sign(weight) * weight.abs().mean()``, is computed by torch itself: its float32 result is what the model has.
"""

import contextlib
import inspect
import operator
import types
from fractions import Fraction

import torch
from torch import fx, nn
from torch.nn.utils.parametrize import is_parametrized

from ..artifact import Artifact
from ..ir import NetworkError, TensorType
from .exact import Builder
from .onnx_windows import Padded
from .problems import Problem, Refusal
from .rational import Inexpressible
from .torch_examples import checked, evaluating, integers
from .torch_nodes import ACCEPTED, FUNCTIONS, METHODS, MODULES, conv2d, is_value, size
from .torch_signs import sign_of
from .value import Value

__all__ = ["from_module"]

PIXELS = (0, 255, 1)
DAMAGE = (AttributeError, TypeError, ValueError, KeyError, IndexError, RuntimeError, OverflowError)
TAKE_PADDED = (conv2d, size)
WIDENING = ("float", "double", "to", "type")
# What needs only the order of scores.
RANKED = {torch.argmax, torch.max, torch.softmax, torch.log_softmax, nn.functional.softmax, nn.functional.log_softmax, nn.Softmax,
          nn.LogSoftmax, "argmax", "max", "softmax", "log_softmax"}
IN_PLACE = {operator.iadd, operator.isub, operator.imul, operator.itruediv}
VIEWS = {torch.flatten, torch.reshape, torch.squeeze, torch.unsqueeze, getattr, "flatten", "reshape", "view", "squeeze",
         "unsqueeze", "contiguous", "detach", "float", "double", "to", "type", "cpu", nn.Flatten, nn.Identity, nn.Dropout,
         nn.Dropout1d, nn.Dropout2d, nn.functional.dropout}
AXES = {2: "NC", 3: "NHW", 4: "NCHW"}


class _Proxy(fx.Proxy):
    """A traced tensor; torch.fx would forget what is written into its attributes."""
    def __setattr__(self, name, value):
        if name not in ("tracer", "node"):
            raise TypeError(f"the forward writes the attribute {name!r} of a tensor")
        super().__setattr__(name, value)

    def _in_place(function):
        return lambda self, other: self.tracer.create_proxy("call_function", function, (self, other), {})
    __iadd__, __isub__ = _in_place(operator.iadd), _in_place(operator.isub)
    __imul__, __itruediv__ = _in_place(operator.imul), _in_place(operator.itruediv)


def _kind_of(module):
    """A module's class, without torch's parametrizations of its weights."""
    kind = type(module)
    return kind.__bases__[0] if is_parametrized(module) else kind


class _Tracer(fx.Tracer):
    """Follows all modules but torch's own and the declared ones."""
    def __init__(self, signs):
        functions = tuple(s for s in signs if isinstance(s, types.FunctionType))
        super().__init__(autowrap_functions=functions)
        self.sign_modules = tuple(s for s in signs if isinstance(s, type) and issubclass(s, nn.Module))

    def proxy(self, node):
        return _Proxy(node, self)

    def is_leaf_module(self, module, name):
        if isinstance(module, self.sign_modules) or _kind_of(module) in MODULES:
            return True
        return not is_parametrized(module) and super().is_leaf_module(module, name)


@contextlib.contextmanager
def _recorded(functions):
    """Lets torch.fx see the ``apply`` of :class:`torch.autograd.Function` classes."""
    own = {function: function.__dict__.get("apply") for function in functions}

    def recording(function, apply):
        def call(*args):
            proxies = [arg for arg in args if isinstance(arg, fx.Proxy)]
            return proxies[0].tracer.create_proxy("call_function", function, args, {}) if proxies else apply(*args)
        return call
    for function in functions:
        function.apply = staticmethod(recording(function, function.apply))
    try:
        yield
    finally:
        for function, apply in own.items():
            if apply is None:
                del function.apply
            else:
                function.apply = apply


def _check_hooks(module):
    """Refuse what torch calls beside a module's forward: a trace does not see it."""
    every = nn.modules.module
    if module._forward_hooks or module._forward_pre_hooks or every._global_forward_hooks or every._global_forward_pre_hooks:
        raise Inexpressible("it has forward hooks (pruning and weight_norm work by such)",
                            "modules without: prune.remove and remove_weight_norm make plain weights of them")


class _Walk:
    """One pass over a traced graph."""
    def __init__(self, model, graph, signs):
        self.model, self.graph, self.signs = model, graph, signs
        self.build, self.found, self.node = Builder(), {}, None

    def only_ranked(self):
        """Whether nothing but the order of the current node's elements is used."""
        def ranks(user):
            target = type(self.model.get_submodule(user.target)) if user.op == "call_module" else user.target
            return user.op == "output" or target in RANKED
        return all(map(ranks, self.node.users))

    def _check_in_place(self, node, target):
        """Refuse what changes a tensor that something else still has, which a graph of values does not know."""
        name = getattr(target, "__name__", str(target))
        inside = getattr(target, "inplace", False) if node.op == "call_module" else (
            node.kwargs.get("inplace", False) or (name.endswith("_") and not name.endswith("__")) or target in IN_PLACE)
        if not inside:
            return
        source = node.args[0]
        while isinstance(source, fx.Node) and len(source.users) == 1 and source.op.startswith("call_") and self._is_view(source):
            source = source.args[0]
        if not node.users or not isinstance(source, fx.Node) or len(source.users) > 1:
            raise Inexpressible("it works in place on a tensor that is used elsewhere, too", "one that gives a new tensor")

    def _is_view(self, node):
        """Whether a node's result may share its input's memory."""
        target = type(self.model.get_submodule(node.target)) if node.op == "call_module" else node.target
        return target in VIEWS

    def _is_sign(self, node, target):
        if node.op == "call_module":
            return isinstance(target, tuple(s for s in self.signs if isinstance(s, type)))
        return node.op == "call_function" and any(target is s for s in self.signs)

    @staticmethod
    def _called(target):
        return target.apply if isinstance(target, type) and issubclass(target, torch.autograd.Function) else target

    def _apply(self, node, target, args, kwargs):
        """The result of a node that depends on the input; what it adds to the network is named as the module it stands in."""
        name = self._module(node) or node.name
        if self._is_sign(node, target):
            if len(args) < 1 or not isinstance(args[0], Value) or any(map(is_value, (*args[1:], *kwargs.values()))):
                raise Inexpressible("it is declared a sign, but not only its first argument depends on the input")
            called = self._called(target)
            return sign_of(self.build, name, args[0], lambda x: called(x, *args[1:], **kwargs))
        if node.op == "call_module":
            kind = _kind_of(target)
            _check_hooks(target)
            handler = kind in MODULES and (lambda walk, name, x: MODULES[kind](walk, name, target, x))
        else:
            handler = (METHODS if node.op == "call_method" else FUNCTIONS).get(target)
        if not handler:
            raise Inexpressible("this operation is not known", f"{ACCEPTED}; functions of your own that are signs, in signs=")
        try:
            inspect.signature(handler).bind(self, name, *args, **kwargs)
        except TypeError as error:
            raise Inexpressible(f"its arguments are not those of a known form: {error}") from None
        self._check_in_place(node, target)
        if any(isinstance(v, Padded) for v in args) and not (
                kind is nn.Conv2d if node.op == "call_module" else handler in TAKE_PADDED):
            raise Inexpressible("its input is padded", "a convolution behind the padding")
        try:
            return handler(self, name, *args, **kwargs)
        except Inexpressible:
            raise
        except DAMAGE as error:
            said = " ".join(f"{type(error).__name__}: {error}".split())
            raise Inexpressible(f"its arguments are not those of a known form ({said})") from None

    def _result(self, node):
        args, kwargs = (fx.node.map_arg(v, lambda n: self.found[n]) for v in (node.args, node.kwargs))
        target = self.model.get_submodule(node.target) if node.op == "call_module" else node.target
        if any(is_value(self.found[source]) for source in node.all_input_nodes):
            return self._apply(node, target, args, kwargs)
        try:
            with torch.no_grad():
                called = getattr(args[0], target) if node.op == "call_method" else self._called(target)
                return called(*(args[1:] if node.op == "call_method" else args), **kwargs)
        except DAMAGE as error:
            raise Inexpressible(f"torch cannot compute it ({' '.join(f'{type(error).__name__}: {error}'.split())})") from None

    @staticmethod
    def _module(node):
        """The innermost module below the model itself that a node stands in, as the model calls it, or ""."""
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        return str(node.target) if node.op == "call_module" else stack[-1][0] if stack else ""

    def place(self, node):
        """What a message calls a node: the module that it stands in, or its own name; and its operation."""
        if node.op == "call_module":
            return str(node.target), type(self.model.get_submodule(node.target)).__name__
        return f"{self._module(node)}.{node.name}".strip("."), getattr(node.target, "__name__", str(node.target))

    def run(self, value):
        for node in self.graph.nodes:
            self.node = node
            try:
                if node.op == "placeholder":
                    self.found[node], value = (value, None) if value is not None else (node.args[0] if node.args else None, None)
                elif node.op == "get_attr":
                    self.found[node] = _attribute(self.model, node.target)
                elif node.op == "output":
                    return self._output(fx.node.map_arg(node.args[0], lambda n: self.found[n]))
                else:
                    self.found[node] = self._result(node)
            except Inexpressible as error:
                raise Refusal(type(self.model).__name__, [Problem(*self.place(node), error.reason, error.accepted)]) from None
        raise AssertionError("a traced graph has an output")

    def _output(self, result):
        results = [v for v in (result if isinstance(result, (tuple, list)) else (result,)) if v is not None]
        if len(results) != 1 or not isinstance(results[0], Value):
            raise Inexpressible(f"it gives {len(results)} tensors, or what does not depend on its input", "one tensor of scores")
        value = results[0]
        if value.axes == "N":
            return value
        if value.axes != "NC" or value.channels < 2:
            raise Inexpressible(f"it gives a tensor {value.shape}", "scores (N, classes) of two classes or more, or a class")
        return self.build.argmax("class", value)


def _attribute(model, target):
    for part in target.split("."):
        model = getattr(model, part)
    return model.detach() if isinstance(model, torch.Tensor) else model


def _traced(model, signs):
    tracer = _Tracer(signs)
    functions = [s for s in signs if isinstance(s, type) and issubclass(s, torch.autograd.Function)]
    try:
        with _recorded(functions):
            return tracer.trace(model)
    except Exception as error:      # whatever the user's own code raises when it is handed a symbolic tensor
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise Refusal(type(model).__name__, [Problem("", "", f"torch.fx cannot trace it ({reason})", "a forward without "
                      "decisions that depend on tensors; own functions that are signs, in signs=")]) from None


def _check_width(graph, example):
    """Refuse arithmetic on integers so narrow that torch wraps them around."""
    if not isinstance(example, torch.Tensor) or example.is_floating_point() or example.dtype == torch.int64:
        return
    placeholder = next(node for node in graph.nodes if node.op == "placeholder")
    if any(user.op != "call_method" or user.target not in WIDENING for user in placeholder.users):
        raise Inexpressible(f"it computes with {example.dtype}, which wraps around", "int64, or .float() before anything else")


def _input(walk, example, scale, offset, limits):
    if not isinstance(example, torch.Tensor) or example.ndim not in AXES:
        raise Inexpressible("the example is no tensor (N, C, H, W), (N, H, W) or (N, C)")
    axes = AXES[example.ndim]
    sizes = dict(zip(axes, example.shape, strict=True)) | ({"C": 1} if axes == "NHW" else {})
    size = tuple(sizes[axis] for axis in ("HWC" if len(axes) > 2 else "C"))
    return walk.build.input("image" if len(size) == 3 else "x", TensorType(size, *limits), axes, scale, offset)


def from_module(model, example, signs=(), *, input_scale=None, input_offset=0, input_limits=PIXELS):
    """The network of a PyTorch module in evaluation mode.

    Parameters
    ----------
    model : torch.nn.Module
        Gives scores (N, classes) or the class (N,). It is left as it was.
    example : tensor (N, C, H, W), (N, H, W) or (N, C)
        As the model takes it; tells the shape. Its numbers are integers, or integers / 255; with an ``input_scale`` they may be
        any. Where they are such as the input can have, the model itself decides them, and the provenance's ``checked`` has
        what :func:`~bnnhw.importers.torch_examples.checked` gives.
    signs : sequence
        The model's own sign functions: subclasses of :class:`torch.nn.Module`, functions that a ``forward`` calls by a global
        name, subclasses of :class:`torch.autograd.Function`. Each gives one value below 0 and one above, and at 0 one of these
        or their mean.
    input_scale, input_offset : numbers
        The model takes ``scale * integer + offset``; without a scale 1 for an example of integers, else 1/255.
    input_limits : (lo, hi, step)
        The integers that the user sends.

    Returns
    -------
    Artifact
        Its network takes integers (H, W, C) or (C,), channel-last, and gives the class.

    Raises
    ------
    Refusal
        At the first layer that has no exact integer form, naming it; or because the model decides an example otherwise.
    """
    name = type(model).__name__
    for sign in signs:
        known = isinstance(sign, types.FunctionType) or isinstance(sign, type) and issubclass(
            sign, (nn.Module, torch.autograd.Function))
        if not known:
            raise Refusal(name, [Problem("", "", f"signs has {sign!r}", "classes of modules, functions, or classes of "
                                                                         "torch.autograd.Function")])
    whole = isinstance(example, torch.Tensor) and not example.is_floating_point()
    scale = Fraction(1 if whole else Fraction(1, 255)) if input_scale is None else Fraction(input_scale)
    offset = Fraction(input_offset)
    with evaluating(model):
        walk = _Walk(model, _traced(model, tuple(signs)), tuple(signs))
        try:
            _check_hooks(model)
            _check_width(walk.graph, example)
            output = walk.run(_input(walk, example, scale, offset, input_limits))
            network = walk.build.finish([output])
            if input_scale is None and integers(network, example, scale, offset) is None:
                raise Inexpressible("the example's numbers are not integers of the input's range, nor such / 255",
                                    "input_scale and input_offset, which say how the model's input comes from integers")
            tried = checked(model, network, example, scale, offset, walk.build.tied)
        except (Inexpressible, NetworkError) as error:
            accepted = error.accepted if isinstance(error, Inexpressible) else ""
            reason = error.reason if isinstance(error, Inexpressible) else str(error)
            raise Refusal(name, [Problem("", "", reason, accepted)]) from None
    imported = {"kind": "PyTorch module", "module": name, "input_scale": str(scale), "input_offset": str(offset),
                "checked": tried} | walk.build.facts
    return Artifact(network, (), {"imported": imported, "float32_ties": walk.build.ties, "float32_ties_total": walk.build.tied})
