"""Verilog to a running program: Verilator and the C++ compiler, with what they made kept in a cache.

The key of the cache is a SHA-256 over everything that goes in: the Verilog, the C++ harness, the options and the
versions of both tools. Programs that run at the same time share one build; a build that is broken off leaves nothing.
Verilator's own makefile is not used: it compiles Verilator's runtime anew for each design, two thirds of the work.
"""

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from . import tools
from .files import cache_dir

__all__ = ["CACHE_DAYS", "compile"]

# Two-state simulation: every register has an initial value, so undefined ones may be whatever is fastest.
VERILATOR = ["--cc", "--prefix", "Vtop", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert",
             "--no-timing", "-Wno-fatal", "-Wno-lint", "-Wno-style"]
CXX = ["-std=c++17", "-faligned-new", "-w", "-DVERILATOR=1", "-DVM_COVERAGE=0", "-DVM_SC=0"]
FAST, SLOW = "-O2", "-O0"       # what runs every cycle, and what runs once
POLL_S = 0.02
CACHE_DAYS = 30                 # programs that were not used for so long are deleted


def compile(verilog, harness, *, top, options=(), settings="", optimize=FAST, trace=False, threads=2,
            say=lambda text: None):
    """A program that simulates ``verilog``.

    Parameters
    ----------
    verilog : str
        Its text.
    harness : path
        C++ source with ``main``; it includes ``Vtop.h``, class ``Vtop``. Macro ``VM_TRACE`` is 1 with ``trace``.
    top : str
        Top module.
    options : sequence of str
        More options for Verilator.
    settings : str
        Text of a Verilator control file (.vlt): which wires the harness can see.
    optimize : str
        The C++ compiler's option for what runs every cycle. Huge flat designs compile ten times faster with ``-O1``.
    trace : bool
        Whether it can write waveforms.
    threads : int
        Compilers at a time.
    say : callable (str)
        Told before a build starts; not called where the cache has the program.

    Returns
    -------
    Path
        The program.

    Raises
    ------
    ToolMissing, ToolError
        Verilator or the C++ compiler is missing or failed.
    """
    verilator, compiler = tools.find("verilator"), tools.find("c++")
    harness = Path(harness)
    arguments = [*VERILATOR, *(["--trace-vcd"] if trace else []), "--top-module", top, *options]
    versions = [verilator.version, verilator.where, compiler.version]
    key = _digest(verilog, harness.read_text(), settings, *arguments, *CXX, optimize, SLOW, *versions)
    folder = cache_dir("simulators")
    program = folder / key[:32]
    if _used(program):
        return program
    with open(folder / f".{program.name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _used(program):      # somebody else has just made it
            return program
        say(f"compiling the simulator with {verilator.where} (kept in {folder})")
        _prune(folder)
        with tempfile.TemporaryDirectory(prefix=".build-", dir=folder) as temporary:
            made = _build(Path(temporary), verilog, settings, harness, arguments, optimize, trace, threads, verilator,
                          compiler)
            os.replace(made, program)
    return program


def _digest(*parts):
    state = hashlib.sha256()
    for part in parts:
        state.update(hashlib.sha256(part.encode()).digest())
    return state.hexdigest()


def _used(program):
    """Whether ``program`` is there; if so, its time of last use is now."""
    try:
        os.utime(program)
    except FileNotFoundError:
        return False
    return True


def _prune(folder):
    """Delete what was not used for long, and what was left by builds that were killed."""
    limit = time.time() - CACHE_DAYS * 24 * 3600
    for path in folder.iterdir():
        try:
            if path.stat().st_mtime > limit:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()
        except FileNotFoundError:
            pass


def _build(folder, verilog, settings, harness, arguments, optimize, trace, threads, verilator, compiler):
    (folder / "top.v").write_text(verilog)
    (folder / "settings.vlt").write_text("`verilator_config\n" + settings)
    verilator.run([*arguments, "--Mdir", "cpp", "settings.vlt", "top.v"], cwd=folder)
    include = _include(verilator)
    flags = [*CXX, f"-DVM_TRACE={int(trace)}", f"-DVM_TRACE_VCD={int(trace)}", "-I", str(folder / "cpp"),
             "-I", str(include), "-I", str(include / "vltstd")]

    # Few large units: reading Verilator's headers takes a second each time.
    sources = sorted((folder / "cpp").glob("*.cpp"), key=lambda path: -path.stat().st_size)
    slow = [path for path in sources if "__Slow" in path.name or "__Syms" in path.name]
    fast = [path for path in sources if path not in slow]
    jobs = []
    for kind, level, paths in (("slow", SLOW, slow), ("fast", optimize, fast)):
        groups = [paths[k::threads] for k in range(threads)] if sum(p.stat().st_size for p in paths) > 2e6 else [paths]
        for index, group in enumerate(group for group in groups if group):
            if kind == "fast" and index == 0:
                group = [*group, harness.resolve()]
            unit = folder / f"{kind}{index}.cpp"
            unit.write_text("".join(f'#include "{path}"\n' for path in group))
            jobs.append((unit, unit.with_suffix(".o"), [*flags, level]))
    objects = [output for _, output, _ in jobs]
    for name in _runtime(folder / "cpp" / "Vtop_classes.mk"):
        source = include / f"{name}.cpp"
        own = [*CXX, f"-DVM_TRACE={int(trace)}", f"-DVM_TRACE_VCD={int(trace)}", "-I", str(include), "-I",
               str(include / "vltstd"), FAST]
        key = _digest(verilator.version, verilator.where, compiler.version, name, str(include), *own)
        kept = cache_dir("simulators", "runtime") / f"{key[:32]}.o"
        objects.append(kept)
        if not kept.exists():
            jobs.append((source, kept, own))
    _compile(compiler, jobs, threads)
    program = folder / "program"
    compiler.run([*objects, "-o", program, "-pthread"])
    return program


def _compile(compiler, jobs, threads):
    """Run the jobs (source, output, flags), some at a time; an output is there whole or not at all."""
    waiting, running = list(reversed(jobs)), []
    try:
        while waiting or running:
            while waiting and len(running) < threads:
                source, output, flags = waiting.pop()
                part = output.with_name(f".{output.name}.{os.getpid()}.o")
                arguments = [*flags, "-c", str(source), "-o", str(part)]
                process = subprocess.Popen([*compiler.command, *arguments], env=compiler.env, start_new_session=True,
                                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                running.append((process, arguments, part, output))
            time.sleep(POLL_S)
            for job in [job for job in running if job[0].poll() is not None]:
                running.remove(job)
                process, arguments, part, output = job
                if process.returncode != 0:
                    compiler.run(arguments)     # once more, for its message
                os.replace(part, output)
    finally:
        for process, _, part, _ in running:
            process.kill()
            process.wait()
            part.unlink(missing_ok=True)


def _include(verilator):
    root = verilator.environment.get("VERILATOR_ROOT") or verilator.run(["--getenv", "VERILATOR_ROOT"]).stdout.strip()
    return Path(root) / "include"


def _runtime(makefile):
    """The parts of Verilator's runtime that a design needs, from the list that Verilator writes for its makefile."""
    names = []
    for block in re.findall(r"^VM_GLOBAL_(?:FAST|SLOW) \+= \\\n((?:[ \t]+\w+ \\\n)*)", makefile.read_text(), re.M):
        names += block.replace("\\", "").split()
    return names
