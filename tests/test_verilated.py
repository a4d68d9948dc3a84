"""Compiling simulators: one build per design, kept, shared between processes, nothing left of a broken one."""
import os
import signal
import subprocess
import sys
import time

import pytest

from bnnhw import tools, verilated

VERILOG = """
module top(input clk, output reg [7:0] count);
    initial count = 0;
    always @(posedge clk) count <= count + STEP;
endmodule
"""
HARNESS = """
#include "Vtop.h"
#include <cstdio>
int main() {
    Vtop top;
    for (int k = 0; k < 5; ++k) { top.clk = 0; top.eval(); top.clk = 1; top.eval(); }
    std::printf("%d\\n", top.count);
    return VM_TRACE;
}
"""


@pytest.fixture(scope="module")
def runtime(tmp_path_factory):
    """Folder for Verilator's compiled runtime: the tests share it, or each would wait for it."""
    return tmp_path_factory.mktemp("runtime")


@pytest.fixture
def made(tmp_path, monkeypatch, runtime):
    """Function that compiles the counter; ``made.said`` are the builds, ``made.folder`` the cache."""
    monkeypatch.setenv("BNNHW_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "simulators").mkdir(parents=True)
    (tmp_path / "cache" / "simulators" / "runtime").symlink_to(runtime)
    harness = tmp_path / "harness.cpp"
    harness.write_text(HARNESS)

    def compile(step=1, **more):
        return verilated.compile(VERILOG.replace("STEP", str(step)), harness, top="top", say=compile.said.append, **more)
    compile.said, compile.folder, compile.harness = [], tmp_path / "cache" / "simulators", harness
    return compile


def test_cache(made):
    program = made()
    assert subprocess.run([program], capture_output=True, text=True).stdout == "5\n"
    assert made() == program and len(made.said) == 1
    before = program.stat().st_mtime
    os.utime(program, (0, before - 1000))
    assert made() == program and program.stat().st_mtime >= before      # used just now
    other = made(step=3)
    assert other != program and len(made.said) == 2
    assert subprocess.run([other], capture_output=True, text=True).stdout == "15\n"
    made.harness.write_text(HARNESS + "// changed\n")
    assert made() != program and len(made.said) == 3
    assert sorted(p.name for p in made.folder.iterdir() if not p.name.endswith(".lock")) == sorted(
        [program.name, other.name, made().name, "runtime"])     # no folder of a build is left

    # Programs that nobody has used for long go when a new one comes.
    old = time.time() - (verilated.CACHE_DAYS + 1) * 24 * 3600
    os.utime(other, (old, old))
    made(step=4)
    assert not other.exists() and program.exists()


def test_errors(made):
    with pytest.raises(tools.ToolError, match="verilator failed with exit status 1"):
        made(step="*")
    made.harness.write_text("#error no harness\n")
    with pytest.raises(tools.ToolError, match=r"(?s)c\+\+ failed with exit status 1:.*no harness"):
        made()
    assert [p.name for p in made.folder.iterdir() if p.name != "runtime" and not p.name.endswith(".lock")] == []


def test_at_the_same_time(made, tmp_path):
    """Two processes that want the same program build it once."""
    code = ("import sys; from bnnhw import verilated; "
            "print(verilated.compile(sys.argv[1], sys.argv[2], top='top', say=lambda text: print('builds')))")
    command = [sys.executable, "-c", code, VERILOG.replace("STEP", "7"), str(made.harness)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0][-1] == outputs[1][-1]
    assert sum(output.count("builds") for output in outputs) == 1


def test_interrupted(made):
    """Ctrl-C in the middle of a build: no program, no compiler that goes on, no folder; the next build works."""
    code = ("import sys; from bnnhw import verilated; "
            "verilated.compile(sys.argv[1], sys.argv[2], top='top', say=lambda text: print('builds', flush=True))")
    process = subprocess.Popen([sys.executable, "-c", code, VERILOG.replace("STEP", "9"), str(made.harness)],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout.readline() == "builds\n"
    deadline = time.monotonic() + 60
    while not list(made.folder.glob(".build-*/*.o")) and not list(made.folder.glob(".build-*/fast0.cpp")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) != 0
    process.stdout.close()
    assert [p.name for p in made.folder.iterdir() if p.name != "runtime" and not p.name.endswith(".lock")] == []
    assert not list((made.folder / "runtime").glob(".*"))
    assert subprocess.run([made(step=9)], capture_output=True, text=True).stdout == "45\n"
