"""What a plan takes of a device, before it is synthesized: logic cells, flip-flops, block RAMs, the longest path.

A stage is a sum of components, a component a sum of features (bits of payload, lanes, adders, bits of counters); what a feature
costs was fitted by ``benchmarks/calibrate.py`` on real runs of yosys and nextpnr, family by family. Block RAMs follow from yosys'
own rule. ``docs/estimates.md`` says how far from place and route the figures are.
"""

from .circuits import cached, exact
from .figures import Estimate, EstimateError
from .whole import of_converter, of_element, of_ends, of_fifo, of_fork, of_plan, of_stage, of_wrapper

__all__ = ["Estimate", "EstimateError", "cached", "exact", "of_converter", "of_element", "of_ends", "of_fifo", "of_fork",
           "of_plan", "of_stage", "of_wrapper"]
