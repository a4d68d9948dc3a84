"""From a network to its plan: the planner's choice, and buffers as deep as that needs."""

import math
from dataclasses import dataclass

from .buffers import with_buffers
from .devices import DEVICES
from .plan import Plan, PlanError
from .planner.explain import latency_explanation
from .planner.goals import Planner, has_estimates
from .planner.search import Design, Limits, unlimited

__all__ = ["AS_FAST_AS_FITS", "Chosen", "check_fabric", "check_memory", "choose", "fold", "usual_fps"]

AS_FAST_AS_FITS = math.inf      # images per second: the most for which the device has room
USUAL_LANES = 768               # about half of a UP5K's cells
ANY_DEVICE = "up5k"             # by its costs options are compared where no device is known
USUAL_CLOCK_HZ = 24_000_000     # for which it would be, where it can
OF_FABRIC = {"ecp5": "ecp5-85f", "gowin": "gw2a-18"}            # where only the family is
TRIES = 5                       # of plans whose buffers take more than was thought, or whose latency is another
CLOSE = 0.95                    # of the latency asked for: near enough
STRETCH = 1.5                   # of the bound on a latency, where nothing keeps it


def usual_fps(stages, clock_hz):
    """Images per second to build for where nobody says: the greatest of 100,000, 30,000, 10,000, ... for which
    :data:`USUAL_LANES` are enough."""
    for exponent in range(5, -1, -1):
        for fps in (10**exponent, 3 * 10**(exponent - 1)):
            budget = int(clock_hz // fps)
            needed = [_least_lanes(stage, budget) for stage in stages]
            if sum(needed) <= USUAL_LANES:
                return fps
    return 1


def _least_lanes(stage, budget):
    """The fewest products of one bit per cycle with which a folded stage keeps up with ``budget`` cycles."""
    return min((options.pe * getattr(options, "simd", 1) * stage.bits_in if hasattr(options, "pe") else 0
                for options in stage.folding_space()
                if getattr(options, "style", "") != "unfolded" and stage.cycles(options) <= budget), default=math.inf)


def fold(network, stages, *, clock_hz, fps=None, buffers="rate", fabric=None):
    """A plan that gives at least ``fps`` images per second at ``clock_hz`` with the least area, for no device in particular.

    Without ``fps`` it is :func:`usual_fps`. Dense layers are unfolded only with ``fabric``, a device's family, whose cells they
    then are: that is cheapest where few cycles per image are left. Estimates decide; circuits are built for the layers that were
    chosen. With ``buffers="live"`` buffers of windows and branches are as small as works, and the rate may be less.

    Raises
    ------
    PlanError
        The rate cannot be met; the message names the stage.
    """
    fps = fps or usual_fps(stages, clock_hz)
    device = DEVICES[OF_FABRIC.get(fabric, ANY_DEVICE)]
    if not has_estimates(device):
        device = DEVICES[ANY_DEVICE]
    for path_ns in (1e9 / min(clock_hz, USUAL_CLOCK_HZ), math.inf):
        planner = Planner(stages, device, clock_hz, fabric=fabric, path_ns=path_ns)
        if planner.problem.least * fps <= clock_hz:
            break
    interval = planner.interval(fps)
    return _plan(network, planner, unlimited(planner.problem, interval, Limits(device.luts, device.brams).area), buffers)


def _plan(network, planner, design, buffers):
    options = {name: choice.options for name, choice in design.chosen.items()}
    return with_buffers(Plan(network, planner.stages, {stage.name: options[stage.name] for stage in planner.stages},
                             int(planner.clock_hz)), buffers)


@dataclass(frozen=True)
class Chosen:
    """A plan, the design that it is made from, and the planner that chose it; for a goal of latency ``cycles``, the most that it
    may have. As text it is what the planner says of it."""
    plan: Plan
    design: Design
    planner: Planner
    cycles: int | None = None

    def __str__(self):
        if self.cycles is None:
            return self.planner.explain(self.design)
        return latency_explanation(self.design, self.plan.latency_cycles, self.cycles, self.planner.clock_hz)


def choose(network, planner, *, fps=None, latency=None, buffers="rate"):
    """The plan that ``planner`` chooses for its device, checked against the estimate of the whole.

    Parameters
    ----------
    network : Network
    planner : Planner
        Of the network's stages.
    fps : float, optional
        Images per second: the least area that gives as many; :data:`AS_FAST_AS_FITS`: the most that fit. Where neither this nor
        ``latency`` is given, :func:`usual_fps`, or what fits where that does not.
    latency : float, optional
        Seconds from an image's first beat to its result's last, which the plan keeps to the cycle, with the least area.
    buffers : str

    Returns
    -------
    Chosen

    Raises
    ------
    PlanError
        There is no such plan. Without ``latency`` the message names what is missing, the stage that takes most of it, and the
        smallest device that would do.
    """
    if latency:
        return _soon(network, planner, int(latency * planner.clock_hz * (1 + 1e-9)), buffers)
    for _ in range(TRIES):
        if fps == AS_FAST_AS_FITS:
            design = planner.fastest()
        else:
            design = planner.at(fps) if fps else planner.usual(usual_fps(planner.stages, planner.clock_hz))
        plan = _plan(network, planner, design, buffers)
        less = planner.beyond(design, plan)
        if less is None:
            return Chosen(plan, design, planner)
        planner = less
    raise PlanError(f"no plan was found for {planner.device.name}: its buffers take more than was foreseen")


def _soon(network, planner, cycles, buffers):
    """The :class:`Chosen` of the least area with a latency of at most ``cycles``.

    The planner's bound may be off in either direction, so that its target is moved by what plans really have.
    """
    target, tried, best, shortest = cycles, None, None, math.inf
    for _ in range(TRIES):
        design = planner.within(target)
        if design is None and tried is None:
            target = int(target * STRETCH)
            continue
        if design is None or tried == design:
            break
        tried, plan = design, _plan(network, planner, design, buffers)
        less = planner.beyond(design, plan)
        if less:
            planner, tried = less, None
            continue
        shortest = min(shortest, plan.latency_cycles)
        if plan.latency_cycles <= cycles and (best is None or planner.area(design) < planner.area(best.design)):
            best = Chosen(plan, design, planner, cycles)
        if CLOSE * cycles <= plan.latency_cycles <= cycles:
            break
        target = int(target * cycles / plan.latency_cycles)
    if best is None:
        shortest = min(shortest, choose(network, planner, fps=AS_FAST_AS_FITS, buffers=buffers).plan.latency_cycles)
        asked, found = (f"{own:,} cycles ({1e6 * own / planner.clock_hz:.2f} us)" for own in (cycles, shortest))
        raise PlanError(f"no plan for {planner.device.name} has a latency of {asked}; the shortest that was found is {found}")
    return best


def check_fabric(plan, device):
    """Refuse a plan with circuits of another family's cells than ``device`` has: :exc:`PlanError`, naming the layer."""
    for name, own in plan.options.items():
        fabric = getattr(own, "fabric", device.family)
        if fabric != device.family:
            raise PlanError(f"layer {name!r}: it is of cells of fabric {fabric!r}, but {device.name} is of {device.family!r}: "
                            f"change its fabric")


def check_memory(plan, device):
    """Refuse a plan whose weight memories cannot fit ``device``, before any synthesis.

    Returns
    -------
    int
        Block RAMs that the weights take.

    Raises
    ------
    PlanError
        Naming what is needed, what there is, and the layer that takes most.
    """
    needed = {stage.name: sum(device.block_rams(*size) for size in stage.resources(plan.options[stage.name])["bram_words"])
              for stage in plan.stages}
    total = sum(needed.values())
    if total > device.brams:
        most = max(needed, key=needed.get)
        bits = sum(stage.weights.size for stage in plan.stages if hasattr(stage, "weights"))
        raise PlanError(f"the {bits:,} weights take {total} block RAMs as folded, but {device.name} has {device.brams} "
                        f"({device.brams * device.bram_shapes[0][0] * device.bram_shapes[0][1]:,} bits); "
                        f"layer {most!r} alone takes {needed[most]}")
    return total
