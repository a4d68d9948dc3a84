"""What an estimate is, and the sums of features that it is made of."""

import functools
import json
import math
from dataclasses import dataclass, field, replace
from importlib import resources

from .. import devices
from ..errors import UserError

__all__ = ["Estimate", "EstimateError", "Parts", "SIZE", "alike", "check", "constants", "evaluate", "speed", "whole"]

CONSTANTS = "constants.json"
TARGETS = ("cells", "ffs")
SIZE = "size"           # of a path: the binary logarithm of the number of cells of the design that it is in


class EstimateError(UserError, ValueError):
    """Something for which there are no figures; the message says for what there are."""


@dataclass(frozen=True)
class Estimate:
    """What a part of a design takes of a device, as place and route will say it.

    Attributes
    ----------
    luts : float
        nextpnr's packed cells.
    ffs : float
        Flip-flops.
    brams : int
        Block RAMs.
    path_ns : float
        The longest path from register to register, routed.
    """
    luts: float = 0.0
    ffs: float = 0.0
    brams: int = 0
    path_ns: float = 0.0

    def __add__(self, other):
        return Estimate(self.luts + other.luts, self.ffs + other.ffs, self.brams + other.brams, max(self.path_ns, other.path_ns))

    @property
    def fmax_hz(self):
        """The clock that the longest path allows."""
        return 1e9 / self.path_ns


@functools.cache
def _dotted(name):
    return name.replace("__", ".")


@dataclass
class Parts:
    """What a design has of what costs something.

    Attributes
    ----------
    counts : dict
        Feature -> how many there are. The features are those of :mod:`.parts`.
    brams : int
    paths : list of dict
        Of every path that may be the longest: features on it.
    """
    counts: dict = field(default_factory=dict)
    brams: int = 0
    paths: list = field(default_factory=list)

    def add(self, **features):
        """Count features: a name's double underscore stands for a dot."""
        for name, count in features.items():
            name = _dotted(name)
            self.counts[name] = self.counts.get(name, 0) + count
        return self

    def path(self, **features):
        """Note a path."""
        self.paths.append({_dotted(name): count for name, count in features.items()})
        return self

    def __add__(self, other):
        counts = dict(self.counts)
        for name, count in other.counts.items():
            counts[name] = counts.get(name, 0) + count
        return Parts(counts, self.brams + other.brams, self.paths + other.paths)


@functools.cache
def constants():
    """The fitted constants: {"cells": {family: {feature: cells}}, "ffs": the same, "path_ns": {grade: {feature: ns}}}."""
    return json.loads((resources.files(__package__) / CONSTANTS).read_text())


def speed(device):
    """Name of the delays of ``device``: its family, and its grade where the family has several."""
    return f"{device.family}-{device.grade}" if device.grade else device.family


@functools.cache
def alike(device):
    """The first device whose estimates are the same: those of one family and grade differ only in how much there is."""
    return next((other for other in devices.DEVICES.values() if speed(other) == speed(device)), device)


def check(device):
    """Raise :exc:`EstimateError` unless there are constants for ``device``."""
    known = constants()
    if device.family not in known["cells"] or speed(device) not in known["path_ns"]:
        raise EstimateError(f"device {device.name!r}: there are no estimates for it, as it has not been calibrated; there are "
                            f"for {', '.join(known['path_ns'])}")


def evaluate(parts, device):
    """The :class:`Estimate` of ``parts`` on ``device``. Raises :exc:`EstimateError`."""
    check(device)
    known = constants()
    cells, ffs = (sum([own.get(name, 0) * count for name, count in parts.counts.items()])
                  for own in (known[target][device.family] for target in TARGETS))
    delays = known["path_ns"][speed(device)]
    longest = max([sum([delays.get(name, 0) * count for name, count in path.items()]) for path in parts.paths], default=0)
    return Estimate(cells, ffs, parts.brams, longest and longest + wires_ns(cells, device))


def wires_ns(cells, device):
    """What a path has to go further in a design of so many cells."""
    return constants()["path_ns"][speed(device)].get(SIZE, 0) * math.log2(max(cells, 1))


def whole(estimates, device):
    """The sum of what stands in one design: the longest path is in a design of all these cells."""
    total = sum(estimates, Estimate())
    inner = max((own.path_ns - wires_ns(own.luts, device) for own in estimates if own.path_ns), default=0)
    return replace(total, path_ns=inner + wires_ns(total.luts, device))
