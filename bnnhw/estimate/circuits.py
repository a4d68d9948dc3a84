"""Stages whose circuit is made of constants: synthesized once, their figures kept in a folder."""

import functools
import hashlib
import json
import tempfile
from pathlib import Path

from amaranth.back import verilog

from .. import __version__, baked, gateware, stages, tools
from ..families import FAMILIES
from ..files import atomic_write, cache_dir, sha256_of
from .figures import Estimate, alike, check
from .packing import packed

__all__ = ["TOP", "cached", "exact", "keep", "verilog_of"]

FOLDER, TOP = "estimates", "top"
FORMAT = 1          # of the files; another one is another name
SOURCES = tuple(Path(package.__file__).parent for package in (baked, gateware, stages))      # of circuits


@functools.cache
def _source():
    return sha256_of(SOURCES, ("*.py",))


@functools.lru_cache(maxsize=1024)
def _content(stage):
    """SHA-256 of what a stage's circuit is made from, but for its options."""
    found = hashlib.sha256(f"{stage.kind} {stage.elements_in} {stage.bits_in} {stage.elements_out} {stage.bits_out}".encode())
    for value in (getattr(stage, "weights", None), getattr(stage, "result", None), getattr(stage, "layers", None)):
        _update(found, value)
    return found.hexdigest()


def _update(found, value):
    if hasattr(value, "tobytes"):
        found.update(f"{value.dtype} {value.shape}".encode() + value.tobytes())
    elif isinstance(value, (list, tuple)):
        found.update(f"{len(value)}".encode())
        for item in value:
            _update(found, item)
    else:
        found.update(f"{value!r};".encode())


@functools.cache
def _tools(names):
    """Which releases of the tools there are; None in the place of one that is missing, and then nothing is found."""
    found = []
    for name in names:
        try:
            found.append(tools.find(name).release)
        except tools.ToolMissing:
            found.append(None)
    return found


def _file(stage, options, device):
    family = FAMILIES[device.family]
    words = [FORMAT, __version__, _source(), _content(stage), options.model_dump_json(), alike(device).name,
             family.synthesis, *_tools(("yosys", family.router[0]))]
    return cache_dir(FOLDER) / (hashlib.sha256(" ".join(map(str, words)).encode()).hexdigest() + ".json")


def cached(stage, options, device):
    """The :class:`~.figures.Estimate` that :func:`exact` found earlier, here or in another process, or None."""
    try:
        figures = json.loads(_file(stage, options, device).read_text())
        return Estimate(**figures)
    except (OSError, ValueError, TypeError):
        return None


def keep(stage, options, device, figures):
    """Remember the :class:`~.figures.Estimate` of a stage."""
    atomic_write(_file(stage, options, device), json.dumps(figures.__dict__) + "\n")


def verilog_of(component):
    """Verilog of a component, :data:`TOP`, with the circuits that it has as cells."""
    text = verilog.convert(component, name=TOP, emit_src=False)
    return text + "".join("\n" + made.verilog(name) for name, made in getattr(component, "modules", {}).items())


def exact(stage, options, device):
    """Cells, flip-flops and block RAMs of a stage by synthesis and packing; kept, so that the next time, also for another
    device of the family and grade, is at once.

    Parameters
    ----------
    stage : Stage
    options : Options
        Of ``stage``, with the fabric of ``device`` where they name one.
    device : Device

    Returns
    -------
    Estimate
        Without a path: ``path_ns`` is 0.

    Raises
    ------
    EstimateError
        The device has not been calibrated.
    ToolMissing, ToolError
        A tool is not there, or fails.
    OSError
        The cache folder cannot be written.
    """
    check(device)
    found = cached(stage, options, device)
    if found is None:
        with tempfile.TemporaryFile(dir=_file(stage, options, device).parent):
            pass            # if nothing can be kept there, it is said now and not after a minute
        figures = packed(verilog_of(stage.build(options)), TOP, alike(device))
        found = Estimate(figures["luts"], figures["ffs"], figures["brams"], 0.0)
        keep(stage, options, device, found)
    return found
