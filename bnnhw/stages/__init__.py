"""Kinds of stages: what the hardware is made of."""

from .base import BufferOptions, FoldingError, Stage, divisors
from .conv import ConvStage, DepthwiseStage
from .dense import DenseStage
from .elementwise import AddStage, AffineStage, BankAffineStage, InputStage, ThresholdStage
from .lookup import LookupClassStage, LookupStage
from .pool import MaxPoolStage, SumPoolStage
from .result import ClassStage, ScoresStage
from .thermometer import ThermometerStage

__all__ = ["AddStage", "AffineStage", "BankAffineStage", "BufferOptions", "ClassStage", "ConvStage", "DenseStage",
           "DepthwiseStage", "FoldingError", "InputStage", "LookupClassStage", "LookupStage", "MaxPoolStage", "ScoresStage",
           "Stage", "SumPoolStage", "ThermometerStage", "ThresholdStage", "divisors"]
