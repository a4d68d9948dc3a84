"""What a method of training may change, and what holds where none does: BinaryNet."""

import math

import torch
from pydantic import BaseModel, ConfigDict
from torch import nn

from ..activations import SignActivation
from ..estimators import ESTIMATORS
from ..weights import ClippedSigns

__all__ = ["HOOKS", "Method"]


def _squared_hinge(scores, labels):
    targets = nn.functional.one_hot(labels, scores.shape[1]) * 2 - 1
    return (1 - scores * targets).clamp(min=0).square().mean()


LOSSES = {"squared-hinge": _squared_hinge, "cross-entropy": nn.functional.cross_entropy}


class Method(BaseModel):
    """A table of a recipe's ``methods``: its keys are fields, and it overrides those hooks in which it differs.

    The hooks as they stand here are BinaryNet's (Courbariaux et al., 2016, arXiv:1602.02830): signs of clipped latent weights,
    signs of batch norms, Adam, a rate that falls to 0 as half a cosine.
    """
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def weights(self, recipe):
        """A layer's weight binarizer, of :mod:`bnnhw.train.weights`."""
        return ClippedSigns()

    def scale(self, n_out, generator):
        """What a layer's integer sums are multiplied by where a batch norm follows, of :mod:`bnnhw.train.weights`, or None."""
        return None

    def activation(self, recipe, channels):
        """What stands behind a batch norm, of :mod:`bnnhw.train.activations`."""
        return SignActivation(ESTIMATORS[recipe.estimator]())

    def optimizer(self, groups):
        """The optimizer of groups of parameters; ``group["binary"]`` tells latent weights from the rest."""
        return torch.optim.Adam(groups, fused=True)

    def rate(self, recipe, step, steps):
        """Learning rate as a factor of the recipe's, of step ``step`` of ``steps`` of all epochs.

        Half a cosine. Loshchilov and Hutter, 2016, arXiv:1608.03983.
        """
        return (1 + math.cos(math.pi * step / steps)) / 2

    def decay(self, recipe, step, steps):
        """Weight decay of the latent weights in step ``step`` of ``steps``."""
        return 0.0

    def loss(self, recipe, scores, labels, taught):
        """The loss of a batch; ``taught`` are the teacher's scores, None where there is none."""
        return LOSSES[recipe.loss](scores, labels)

    def lessons(self):
        """Epochs for which a teacher, the float twin, is trained first."""
        return 0

    def step(self, optimizer, layers):
        """Take a step of the optimizer; ``layers`` are those with binary weights."""
        optimizer.step()

    def on_epoch(self, trainer):
        """Called before each epoch."""


HOOKS = ("weights", "scale", "activation", "optimizer", "rate", "decay", "loss", "lessons", "step", "on_epoch")
