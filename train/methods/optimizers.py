"""Methods that take other steps: Bop, AdamBNN's two steps, metaplastic training, weight decay."""

import math
from typing import Literal

import torch
from pydantic import Field

from ..estimators import Identity
from ..weights import Real, Signs
from .base import Method

__all__ = ["AdamBnn", "Bop", "BopMethod", "Metaplastic", "WeightDecay", "metaplastic_step"]


class Bop(torch.optim.Adam):
    """Binary weights flip by an average of their gradients; other parameters take Adam's steps.

    m = (1 - gamma) m + gamma g; w becomes -w where abs(m) > threshold and m and w have the same sign. There are no latent
    weights. Helwegen et al., "Latent Weights Do Not Exist", 2019, arXiv:1906.02107.

    Parameters
    ----------
    groups : list of dict
        Weights of groups with ``binary`` are -1 and +1. gamma falls with the learning rate: ``gamma * lr / lr at first``.
    gamma, threshold : float
    """
    def __init__(self, groups, gamma, threshold):
        super().__init__(groups, fused=True)
        self.gamma, self.threshold = gamma, threshold
        self.first_rates = [group["lr"] for group in groups]

    @torch.no_grad()
    def step(self):
        for group, first in zip(self.param_groups, self.first_rates, strict=True):
            if not group["binary"]:
                continue
            gamma = self.gamma * group["lr"] / first
            for weight in group["params"]:
                state = self.state[weight]
                if not state:
                    state |= {"step": torch.zeros(()), "average": torch.zeros_like(weight)}     # Adam wants to see a step
                average = state["average"]
                average.mul_(1 - gamma).add_(weight.grad, alpha=gamma)
                weight[(average.abs() > self.threshold) & (average * weight > 0)] *= -1
                weight.grad = None      # so that Adam leaves it alone
        super().step()


class _SignsThemselves(Signs):
    """Weights that are -1 and +1 from the start."""
    def __init__(self):
        super().__init__(Identity())

    def fresh(self, shape, spread, generator):
        return torch.where(super().fresh(shape, spread, generator) >= 0, 1.0, -1.0)


class BopMethod(Method):
    """No latent weights: signs flip by :class:`Bop`."""
    name: Literal["bop"]
    gamma: float = Field(gt=0, le=1)
    threshold: float = Field(ge=0, le=1)

    def weights(self, recipe):
        return _SignsThemselves()

    def optimizer(self, groups):
        return Bop(groups, self.gamma, self.threshold)

    def decay(self, recipe, step, steps):
        return 0.0      # there is nothing to decay: no other method may ask for it


class AdamBnn(Method):
    """Step 1: binary activations, float weights that decay; step 2: both binary, from there on, without decay.

    Each step has its own rate that falls to 0 as a line, and begins with a fresh Adam. Liu et al., 2021, arXiv:2106.11309.
    """
    name: Literal["adambnn"]
    first_share: float = Field(gt=0, lt=1)
    amount: float = Field(ge=0, le=1)

    def _switch(self, recipe):
        """The first epoch of step 2."""
        return math.ceil(self.first_share * recipe.epochs)

    def weights(self, recipe):
        return Real(self.first_share)

    def rate(self, recipe, step, steps):
        first = steps // recipe.epochs * self._switch(recipe)
        return 1 - step / first if step < first else (steps - step) / (steps - first)

    def decay(self, recipe, step, steps):
        return self.amount if step < steps // recipe.epochs * self._switch(recipe) else 0.0

    def on_epoch(self, trainer):
        if trainer.epoch == self._switch(trainer.recipe):
            trainer.optimizer.state.clear()


class WeightDecay(Method):
    """Latent weights are drawn towards 0: ``amount`` times the weight joins its gradient. It makes them flip more readily."""
    name: Literal["weight-decay"]
    amount: float = Field(gt=0, le=1)

    def decay(self, recipe, step, steps):
        return self.amount


@torch.no_grad()
def metaplastic_step(optimizer, layers, m):
    """A step of ``optimizer`` in which weights move towards 0 the less, the larger they are.

    A change U of a latent weight W with U W < 0 is multiplied by 1 - tanh^2(m W); what was strengthened often is hard to undo.
    Laborieux et al., "Synaptic metaplasticity in binarized neural networks", Nature Communications 12:2549,
    2021, arXiv:2003.03533.

    Parameters
    ----------
    optimizer : Optimizer
    layers : list
        Whose ``weight`` is metaplastic. Weights must not be clipped.
    m : float
        0 is a plain step.
    """
    before = [layer.weight.clone() for layer in layers]
    optimizer.step()
    for old, layer in zip(before, layers, strict=True):
        change = layer.weight - old
        held = torch.where(change * old < 0, 1 - torch.tanh(m * old).square(), 1.0)
        layer.weight.copy_(old + change * held)


class Metaplastic(Method):
    """Latent weights without bounds, by :func:`metaplastic_step`: against forgetting earlier tasks."""
    name: Literal["metaplastic"]
    m: float = Field(ge=0, le=100)

    def weights(self, recipe):
        return Signs(Identity())

    def step(self, optimizer, layers):
        metaplastic_step(optimizer, layers, self.m)
