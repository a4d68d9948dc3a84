"""What holds a design up, what would relieve it, and what is missing where nothing fits."""

from dataclasses import dataclass

from .search import Design, cheapest, unlimited

__all__ = ["Relief", "Shortage", "bottleneck", "explanation", "latency_explanation", "relief", "shortage"]

RESOURCES = {"luts": "cell", "brams": "block RAM"}


def bottleneck(design):
    """Names of the stages that set the interval."""
    return [name for name, choice in design.chosen.items() if choice.cycles == design.interval]


def _count(number, what):
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def _costs(design):
    return " and ".join(_count(getattr(design, name), what) for name, what in RESOURCES.items())


@dataclass(frozen=True)
class Relief:
    """The next faster design.

    Attributes
    ----------
    design : Design
        Within the limits the one of the least area, else the one that comes nearest to them.
    missing : dict
        ``"luts"`` and ``"brams"``, as far as it takes more than there is: how much more.
    changed : list of str
        The stages that set the interval and are built otherwise now.
    """
    design: Design
    missing: dict
    changed: list


def relief(problem, limits, design):
    """The :class:`Relief` of ``design``; None where it is as fast as the network gets."""
    faster = [interval for interval in problem.intervals if interval < design.interval]
    if not faster:
        return None
    found = cheapest(problem, limits, faster[-1]) or unlimited(problem, faster[-1], limits.crowding)
    changed = [name for name in bottleneck(design) if found.chosen[name].options != design.chosen[name].options]
    return Relief(found, _missing(limits, found), changed)


def _missing(limits, design):
    return {name: getattr(design, name) - getattr(limits, name) for name in RESOURCES
            if getattr(design, name) > getattr(limits, name)}


@dataclass(frozen=True)
class Shortage:
    """Why nothing fits at an interval.

    Attributes
    ----------
    design : Design
        What comes nearest.
    resource : str
        ``"luts"`` or ``"brams"``: of which most is missing.
    stage : str
        What takes most of it.
    """
    design: Design
    limits: object
    resource: str
    stage: str

    def __str__(self):
        share = _count(getattr(self.design.chosen[self.stage], self.resource), RESOURCES[self.resource])
        return (f"what comes nearest takes {_costs(self.design)}, and there are {self.limits.luts:,} and {self.limits.brams}; "
                f"layer {self.stage!r} alone takes {share}")


def shortage(problem, limits, interval):
    """The :class:`Shortage` at ``interval``, at which nothing fits ``limits``."""
    design = unlimited(problem, interval, limits.crowding)
    shares = {"luts": design.luts / max(1, limits.luts), "brams": design.brams / max(1, limits.brams)}
    resource = max(shares, key=shares.get)
    stage = max(design.chosen, key=lambda name: getattr(design.chosen[name], resource))
    return Shortage(design, limits, resource, stage)


def _layers(names):
    *others, last = map(repr, names)
    return f"layers {', '.join(others)} and {last}" if others else f"layer {last}"


def latency_explanation(design, latency, asked, clock_hz):
    """How many of the cycles ``asked`` for the ``latency`` of ``design`` is, and what sets its interval, in one line."""
    return f"latency {_count(latency, 'cycle')} ({1e6 * latency / clock_hz:,.2f} us) of {asked:,} asked for; {_pace(design)}"


def _pace(design):
    names = bottleneck(design)
    return f"{_layers(names)} {'set' if len(names) > 1 else 'sets'} the interval, {_count(design.interval, 'cycle')}"


def explanation(design, relief, clock_hz):
    """What sets the interval of ``design``, and what its ``relief`` would take, in one line."""
    text = _pace(design)
    if relief is None:
        return f"{text}, the least that this network can have"
    faster = relief.design
    text += (f"; the next faster design has {faster.interval:,} ({clock_hz / faster.interval:,.0f} images/s) and takes "
             f"{_costs(faster)} instead of {_costs(design)}")
    if not relief.missing:
        return f"{text}: it would fit"
    return f"{text}: {' and '.join(_count(count, RESOURCES[name]) for name, count in relief.missing.items())} too many"
