"""BinaryConnect, BinaryNet, XNOR-Net."""

from typing import Literal

from pydantic import Field

from ..activations import Levels, SignActivation, StochasticSignActivation
from ..estimators import ESTIMATORS, HardTanh
from ..weights import ClippedSigns, MeanMagnitude, Signs, StochasticSigns
from .base import Method

__all__ = ["BinaryConnect", "BinaryNet", "XnorNet"]


class BinaryConnect(Method):
    """Weights of one bit, activations of several: a ReLU of ``bits`` bits up to about 4 standard deviations.

    With ``stochastic`` weights are drawn anew for every step of the training, with probability (w + 1) / 2. Courbariaux et
    al., 2015, arXiv:1511.00363.
    """
    name: Literal["binaryconnect"]
    bits: int = Field(ge=2, le=8)
    stochastic: bool

    def weights(self, recipe):
        return StochasticSigns() if self.stochastic else ClippedSigns()

    def activation(self, recipe, channels):
        return Levels(0, 2**self.bits, 2.0**(2 - self.bits))


class BinaryNet(Method):
    """Weights and activations of one bit; with ``stochastic`` activations are drawn in training. arXiv:1602.02830."""
    name: Literal["binarynet"]
    stochastic: bool

    def weights(self, recipe):
        return ClippedSigns()

    def activation(self, recipe, channels):
        return (StochasticSignActivation if self.stochastic else SignActivation)(ESTIMATORS[recipe.estimator]())


class XnorNet(Method):
    """A scale alpha per channel, the mean of the absolute latent weights, and no K. Rastegari et al., 2016, arXiv:1603.05279.

    K, a scale per place of the input, is left out. It differs from place to place and image to image, so that no threshold can
    take it up: it would be a float multiplication for every sum.
    """
    name: Literal["xnor-net"]

    def weights(self, recipe):
        return Signs(HardTanh())

    def scale(self, n_out, generator):
        return MeanMagnitude()
