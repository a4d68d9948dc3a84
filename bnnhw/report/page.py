"""report.html: one file that shows a build to someone who has never seen one."""

from pathlib import Path

import jinja2

from . import checks, hardware, headline
from .drawing import drawing
from .learned import learned
from .words import number, percent

__all__ = ["page"]

TEMPLATES = Path(__file__).with_name("templates")


def _environment():
    found = jinja2.Environment(loader=jinja2.FileSystemLoader(TEMPLATES), autoescape=True, undefined=jinja2.StrictUndefined,
                               trim_blocks=True, lstrip_blocks=True)
    found.filters |= {"number": number, "percent": percent, "fixed": lambda value, digits=1: f"{value:.{digits}f}"}
    return found


def page(report, plan, *, inputs=None):
    """The text of report.html. It loads nothing from anywhere, runs no script, and says nothing that is not known.

    Parameters
    ----------
    report : dict
        What report.json holds.
    plan : Plan
        The build's.
    inputs : int array (N, *shape), optional
        What was sent in its verification; without it samples have no pictures.

    Returns
    -------
    str
        The same for the same build, byte for byte: how long the simulation took is left out.
    """
    facts = {
        "report": report,
        "plan": plan,
        "verdict": headline.verdict(report),
        "figures": headline.figures(report),
        "bottleneck": headline.bottleneck(report),
        "network": drawing(plan, headline.limit(report)),
        "area": hardware.area(report),
        "path": hardware.path(report),
        "buffers": hardware.buffers(report),
        "confusion": checks.confusion(report),
        "samples": checks.samples(report, plan, inputs),
        "learned": learned(report, plan, inputs),
        "provenance": checks.provenance(report),
    }
    return _environment().get_template("page.html").render(facts)
