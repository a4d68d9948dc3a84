"""A network, a device and a clock, and the goals that can be asked for: fastest, fast enough, soon enough."""

import copy
import functools
import math
from types import SimpleNamespace

from .. import estimate
from ..devices import DEVICES
from ..estimate.figures import whole
from ..plan import PlanError
from .explain import explanation, relief, shortage
from .latency import least_area
from .search import LastLimits, Limits, cheapest, exceeded, fastest
from .tables import choices_of, tables

__all__ = ["MARGIN", "Planner", "has_estimates"]

MARGIN = 0.85       # of a device's cells: estimates may be off by a tenth, and a fuller device is slow, and slow to route


def has_estimates(device):
    """Whether there are estimates for ``device``."""
    try:
        estimate.of_fifo(1, 0, device)
    except estimate.EstimateError:
        return False
    return True


class Planner:
    """Chooses the options of all stages together, by estimates, within the limits of a device.

    Parameters
    ----------
    stages : list of Stage
    device : Device
    clock_hz : float
    board : Board, optional
        What it adds takes room on the device, too.
    fabric : str or None
        The family whose cells circuits of constants may be made of; None: none, but where a stage can be nothing else.
    path_ns : float, optional
        The longest path that options may have; a clock cycle where it is not given.
    register_ns : float, optional
        Options with longer paths have more registers, where that helps; ``path_ns`` where it is not given.
    updatable : bool
        Whether everything that was trained must be in block RAM.

    Attributes
    ----------
    limits : tuple of Limits
        :data:`MARGIN` of the device's cells, with its block RAMs; all of them, for what does not fit otherwise, which is then to
        save cells. Less where plans are known to take more than was foreseen.
    """
    def __init__(self, stages, device, clock_hz, board=None, *, fabric, path_ns=None, register_ns=None, updatable=False):
        self.stages, self.device, self.clock_hz, self.board, self.fabric = stages, device, clock_hz, board, fabric
        self.updatable = updatable
        self.path_ns = path_ns or 1e9 / clock_hz
        self.register_ns = register_ns or self.path_ns
        self.limits = self.room = Limits(int(MARGIN * device.luts), device.brams), LastLimits(device.luts, device.brams)
        self._choices = {}

    @functools.cached_property
    def problem(self):
        return tables(self.stages, self._choices_of, self.device, self._around)

    def _choices_of(self, stage):
        if stage.name not in self._choices:
            self._choices[stage.name] = choices_of(
                stage, self.device, self.fabric, clock_hz=self.clock_hz, path_ns=self.path_ns, register_ns=self.register_ns,
                updatable=self.updatable)
        return self._choices[stage.name]

    def _around(self, lanes):
        """The estimate of what stands around the stages: stream ports for beats of ``lanes`` elements, and what a board adds."""
        first, last = self.stages[0], self.stages[-1]
        sizes = SimpleNamespace(input_lanes=lanes, element_bytes=first.bits(0) // 8, frame_elements=first.elements_in,
                                result_beats=last.elements_out, bytes_per_beat=last.bytes_per_beat)
        return estimate.of_ends(sizes, self.device) + self._wrapper(sizes)

    def _wrapper(self, plan):
        return estimate.of_wrapper(self.board, plan) if self.board else estimate.Estimate()

    def interval(self, fps):
        """The greatest interval, in cycles, that gives ``fps`` images per second.

        Raises
        ------
        PlanError
            No design at this clock is so fast, however much there is; the message names the stage.
        """
        cycles = int(self.clock_hz / fps * (1 + 1e-9))
        if cycles < 1:
            raise PlanError(f"{fps:,.0f} images/s at {self.clock_hz / 1e6:g} MHz: at most one image per cycle is possible")
        least = {step.name: min(choice.cycles for choice in step.choices) for step in self.problem.steps}
        slowest = max(least, key=least.get)
        if least[slowest] > cycles:
            raise PlanError(f"layer {slowest!r}: {cycles} cycles per image are not enough: it takes at least {least[slowest]}")
        return cycles

    def _first(self, find):
        """What ``find(limits)`` gives within the first limits that are enough, or None."""
        return next(filter(None, map(find, self.limits)), None)

    def fastest(self):
        """The :class:`~.search.Design` with the most images per second that fits; where nothing fits into :data:`MARGIN` of the
        cells, that of the fewest cells.

        Raises
        ------
        PlanError
            Nothing fits; it names what is missing, the stage that takes most of it, and the smallest device that would do.
        """
        slowest = self.problem.intervals[-1]
        design = fastest(self.problem, self.limits[0]) or cheapest(self.problem, self.limits[-1], slowest)
        if design is None:
            raise self._refusal(f"the network does not fit {self.device.name}", slowest)
        return design

    def at(self, fps):
        """The design of the least area with at least ``fps`` images per second; beyond :data:`MARGIN` of the cells, that of the
        fewest cells. Raises :exc:`PlanError`, as :meth:`fastest`."""
        cycles = self.interval(fps)
        design = self._first(lambda limits: cheapest(self.problem, limits, cycles))
        if design is None:
            best = fastest(self.problem, self.limits[0])
            most = f"; at most {self.clock_hz / best.interval:,.0f} images/s fit" if best else ""
            raise self._refusal(f"{fps:,.0f} images/s do not fit {self.device.name}", cycles, most)
        return design

    def usual(self, fps):
        """The design of the least area with ``fps`` images per second; where there is no room for that, the fastest that fits."""
        cycles = int(self.clock_hz // fps)
        return cycles >= self.problem.least and cheapest(self.problem, self.limits[0], cycles) or self.fastest()

    def within(self, cycles):
        """The design of the least area (beyond :data:`MARGIN` of the cells: of the fewest cells) whose latency is at most
        ``cycles`` by the bound of :mod:`.latency`, or None."""
        return self._first(lambda limits: least_area(self.problem, self.stages, limits, cycles))

    def _refusal(self, what, cycles, more=""):
        """The :exc:`PlanError` for an interval at which nothing fits."""
        smallest = self.smallest(cycles)
        which = f"the smallest device that would do is {smallest}" if smallest else "no device that bnnhw knows would do"
        return PlanError(f"{what}: {shortage(self.problem, self.limits[-1], cycles)}{more}; {which}")

    def smallest(self, cycles):
        """The name of the device with the fewest cells on which an interval of ``cycles`` fits, board included; or None."""
        for device in sorted(DEVICES.values(), key=lambda device: (device.luts, device.brams)):
            if device is not self.device and has_estimates(device):
                other = Planner(self.stages, device, self.clock_hz, self.board, fabric=device.family,
                                updatable=self.updatable)
                if other.fits(cycles):
                    return device.name
        return None

    def fits(self, cycles):
        """Whether there is a design with an interval of at most ``cycles`` within the first limits. Where the stages with most
        weights do not fit on their own, the others are not estimated."""
        heaviest = sorted(self.stages, key=lambda stage: stage.weights.size if hasattr(stage, "weights") else 0, reverse=True)
        if exceeded(self.limits[0], cycles, map(self._choices_of, heaviest)):
            return False
        return cheapest(self.problem, self.limits[0], cycles) is not None

    def explain(self, design):
        """Why ``design`` is not faster, and what a faster one would take, in one line."""
        found = relief(self.problem, self.limits[0], design)
        return explanation(design, found, self.clock_hz)

    def fmax_hz(self, design):
        """The clock that the longest path of ``design`` allows, by the estimate."""
        own = [estimate.Estimate(choice.luts, 0, choice.brams, choice.path_ns) for choice in design.chosen.values()]
        rest = estimate.Estimate(design.luts - sum(part.luts for part in own))
        return whole([*own, rest], self.device).fmax_hz

    def area(self, design):
        """What ``design`` takes of the device: its shares of cells and block RAMs together, in a unit of its own."""
        return Limits(self.device.luts, self.device.brams).area(design.luts, design.brams)

    def beyond(self, design, plan):
        """None where ``plan``, which was made of ``design``, fits by the estimate of the whole; else a planner that knows how
        much the search had left out."""
        cost = estimate.of_plan(plan, self.device) + self._wrapper(plan)
        luts, brams = math.ceil(cost.luts), cost.brams
        fitting = next(room for room, limits in zip(self.room, self.limits, strict=True) if design.luts <= limits.luts)
        if luts <= fitting.luts and brams <= fitting.brams:
            return None
        other = copy.copy(self)
        other.limits = tuple(type(limits)(min(limits.luts, room.luts - max(0, luts - design.luts)),
                                          min(limits.brams, room.brams - max(0, brams - design.brams)))
                             for limits, room in zip(self.limits, self.room, strict=True))
        return other
