"""Kinds of stages: what the hardware is made of."""

from .affine import AffineStage
from .base import FoldingError, Stage, divisors
from .dense import DenseStage
from .result import ClassStage, ScoresStage
from .threshold import ThresholdStage

__all__ = ["AffineStage", "ClassStage", "DenseStage", "FoldingError", "ScoresStage", "Stage", "ThresholdStage", "divisors"]
