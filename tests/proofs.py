"""Proofs over all inputs: yosys' SAT solver on Verilog, which is what Amaranth emitted plus a specification."""

from amaranth.back import verilog

from bnnhw import tools

OPTIMIZE = "hierarchy -check -top {top}; proc; flatten; opt -full; opt_clean"


def emitted(component, name):
    """The Verilog of ``component`` as module ``name``."""
    return verilog.convert(component, name=name, emit_src=False)


def holds(source, top, folder):
    """Whether the output ``ok`` of the combinational module ``top`` is 1 for every input.

    Anything else that goes wrong (a syntax error, a crash) raises :exc:`bnnhw.tools.ToolError`.
    """
    path = folder / f"{top}.v"
    path.write_text(source)
    script = f"read_verilog {path}; {OPTIMIZE.format(top=top)}; sat -prove ok 1 -set-def-inputs {top}"
    output = tools.find("yosys").run(["-p", script]).stdout
    proven = "SAT proof finished - no model found: SUCCESS!" in output
    assert proven != ("SAT proof finished - model found: FAIL!" in output), output[-2000:]
    return proven
