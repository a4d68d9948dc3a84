"""Methods that change what is aimed at: distillation from the float twin, label smoothing. And the float twin."""

from typing import Literal

from pydantic import Field
from torch import nn

from ..activations import Relu
from ..weights import Real
from .base import Method

__all__ = ["Distillation", "FloatTwin", "LabelSmoothing"]


class Distillation(Method):
    """Loss: share * T^2 * KL(teacher's softmax at temperature T, ours) + (1 - share) * the recipe's loss.

    The teacher is the float twin, the same layers with float weights and ReLU, trained for ``lessons_epochs`` epochs before the
    first. Hinton et al., 2015, arXiv:1503.02531.
    """
    name: Literal["distillation"]
    lessons_epochs: int = Field(ge=1, le=100_000)
    temperature: float = Field(gt=0, le=100)
    share: float = Field(gt=0, le=1)

    def lessons(self):
        return self.lessons_epochs

    def loss(self, recipe, scores, labels, taught):
        t = self.temperature
        ours, theirs = (nn.functional.log_softmax(values / t, 1) for values in (scores, taught))
        distance = nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        return self.share * t**2 * distance + (1 - self.share) * super().loss(recipe, scores, labels, taught)


class LabelSmoothing(Method):
    """Cross-entropy with ``1 - amount`` on the class and ``amount`` spread over all. Szegedy et al., 2015, arXiv:1512.00567."""
    name: Literal["label-smoothing"]
    amount: float = Field(gt=0, lt=1)

    def loss(self, recipe, scores, labels, taught):
        return nn.functional.cross_entropy(scores, labels, label_smoothing=self.amount)


class FloatTwin(Method):
    """The same layers with float weights and ReLU, to compare with. No recipe can name it: it has no export."""
    def weights(self, recipe):
        return Real(share=2.0)

    def activation(self, recipe, channels):
        return Relu()
