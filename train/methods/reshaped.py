"""Methods that give latent weights or activations another shape: PCNN, BinaryRelax, IR-Net, ReCU, ReActNet's RSign."""

from typing import Literal

from pydantic import Field

from ..activations import RSign
from ..estimators import ESTIMATORS, HardTanh
from ..weights import Centred, LearnedScale, PowerOfTwo, Projected, ProjectionScale, Rectified, Relaxed
from .base import Method

__all__ = ["BinaryRelax", "IrNet", "Pcnn", "Recu", "RSignMethod"]


class Pcnn(Method):
    """Kernels that are projections of fewer ones. Gu et al., 2018, arXiv:1811.12755."""
    name: Literal["pcnn"]
    projections: int = Field(ge=1, le=64)
    strength: float = Field(ge=0, le=100)

    def weights(self, recipe):
        return Projected(self.projections, self.strength, HardTanh())


class BinaryRelax(Method):
    """Weights that go from floats to signs, and are signs in phase II. Yin et al., 2018, arXiv:1801.06313."""
    name: Literal["binaryrelax"]
    relaxed_share: float = Field(ge=0, le=1)
    growth: float = Field(gt=1, le=100)

    def weights(self, recipe):
        return Relaxed(self.relaxed_share, self.growth)

    def scale(self, n_out, generator):
        return ProjectionScale()


class IrNet(Method):
    """Standardized weights, powers of two as scales, EDE; activations' EDE is the recipe's ``estimator``. arXiv:1909.10788."""
    name: Literal["ir-net"]

    def weights(self, recipe):
        return Centred()

    def scale(self, n_out, generator):
        return PowerOfTwo()


class Recu(Method):
    """Outliers among the latent weights are pulled in; a learned scale per channel, of either sign. arXiv:2103.12369."""
    name: Literal["recu"]

    def weights(self, recipe):
        return Rectified()

    def scale(self, n_out, generator):
        return LearnedScale(n_out, generator)


class RSignMethod(Method):
    """A learned threshold per channel in front of each sign. Liu et al., "ReActNet", 2020, arXiv:2003.03488."""
    name: Literal["rsign"]

    def activation(self, recipe, channels):
        return RSign(channels, ESTIMATORS[recipe.estimator]())
