"""Methods of training: each a table of a recipe, and a class with the hooks in which it differs from BinaryNet."""

from typing import Annotated, Union

from pydantic import Field

from .base import HOOKS, Method
from .classic import BinaryConnect, BinaryNet, XnorNet
from .optimizers import AdamBnn, BopMethod, Metaplastic, WeightDecay
from .reshaped import BinaryRelax, IrNet, Pcnn, Recu, RSignMethod
from .targets import Distillation, FloatTwin, LabelSmoothing

__all__ = ["AnyMethod", "Chosen", "FloatTwin", "METHODS", "Metaplastic", "clash"]

METHODS = (AdamBnn, BinaryConnect, BinaryNet, BinaryRelax, BopMethod, Distillation, IrNet, LabelSmoothing, Metaplastic, Pcnn,
           Recu, RSignMethod, WeightDecay, XnorNet)
AnyMethod = Annotated[Union[METHODS], Field(discriminator="name")]


def _overrides(method, hook):
    return getattr(type(method), hook) is not getattr(Method, hook)


def clash(methods):
    """(hook, one, other) of the first two of ``methods`` that override the same hook, or None."""
    for hook in HOOKS:
        own = [method.name for method in methods if _overrides(method, hook)]
        if len(own) > 1:
            return hook, *own[:2]
    return None


class Chosen:
    """The hooks of a recipe's methods as attributes: of each the one method's that overrides it, else BinaryNet's."""
    def __init__(self, recipe):
        methods = getattr(recipe, "methods", ())
        for hook in HOOKS:
            setattr(self, hook, getattr(next((m for m in methods if _overrides(m, hook)), Method()), hook))
