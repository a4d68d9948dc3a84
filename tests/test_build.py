"""The build command, as a user calls it."""
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from bnnhw import artifact, models
from bnnhw.artifact import Artifact

from .networks import dense_network


def bnnhw(*arguments, verb="build", cwd=None, env=None):
    return subprocess.run([sys.executable, "-m", f"bnnhw.{verb}", *map(str, arguments)], cwd=cwd, text=True,
                          capture_output=True, env=os.environ | (env or {}))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small network's file."""
    path = tmp_path_factory.mktemp("net") / "small.bnn"
    artifact.save(path, Artifact(dense_network([6, 4, 3]), ("a", "b", "c"), {"made": "for tests"}))
    return path


def test_folder(small, tmp_path):
    done = bnnhw(small, "--scores", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "build" / "small"
    assert sorted(file.name for file in folder.iterdir()) == [
        "plan.toml", "report.html", "report.json", "small.core", "small.v", "small_tb.v", "small_tb_expected.hex",
        "small_tb_input.hex", "small_template.v"]
    facts = json.loads((folder / "report.json").read_text())
    network = artifact.load(small).network
    assert facts["model"]["network_sha256"] == network.digest
    assert f"// Network SHA-256: {network.digest}" in (folder / "small.v").read_text()
    assert facts["core_fps"] == facts["clock_hz"] / facts["cycles_per_inference"]
    assert [layer["name"] for layer in facts["layers"]] == ["binarize", "fc1", "fc2", "fc3", "class"]
    assert facts["verified"] is None and facts["device"] is None and facts["link_fps"] is None
    assert "not verified" in done.stdout
    assert str(tmp_path) not in "".join(file.read_text() for file in folder.iterdir())


def test_same_input_same_files(small, tmp_path):
    """Byte for byte, in another folder and with another yosys on PATH."""
    fake = tmp_path / "bin" / "yosys"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'Yosys 0.99 (not the one)'\nexit 1\n")
    fake.chmod(0o755)
    first, second = tmp_path / "one", tmp_path / "two"
    assert bnnhw(small, "-o", first).returncode == 0
    assert bnnhw(small, "-o", second, env={"PATH": f"{fake.parent}:{os.environ['PATH']}"}).returncode == 0
    assert {f.name: f.read_bytes() for f in first.iterdir()} == {f.name: f.read_bytes() for f in second.iterdir()}


def test_plan_in_and_out(small, tmp_path):
    assert bnnhw(small, "--fps", "1e6", "-o", tmp_path / "a").returncode == 0
    plan = tmp_path / "a" / "plan.toml"
    assert bnnhw(small, "--plan", plan, "-o", tmp_path / "b").returncode == 0
    assert (tmp_path / "a" / "small.v").read_bytes() == (tmp_path / "b" / "small.v").read_bytes()
    wrong = tmp_path / "wrong.toml"
    wrong.write_text(plan.read_text().replace("pe = ", "pe = 1"))
    done = bnnhw(small, "--plan", wrong, "-o", tmp_path / "c")
    assert done.returncode == 1
    assert done.stderr.startswith("error: layer 'fc1': PE must be from 1 to 6, not 1")
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("arguments, status, message", [
    (["missing.bnn"], 1, "error: model 'missing.bnn': there is no such file, and the shipped networks are "),
    (["--board", "arduino"], 2, "error: unknown board 'arduino'; known are icebreaker"),
    (["--device", "up9k"], 2, "error: unknown device 'up9k'; known are up5k, hx1k, hx8k, ecp5-12f, ecp5-25f, ecp5-25f-8, ecp5-"),
    (["--bitstream"], 2, "--bitstream needs --board, which says the pins"),
    (["--verify-netlist", "5"], 2, "--verify-netlist needs --bitstream, which makes the netlist"),
    (["--verify", "-1"], 2, "--verify must not be negative, not -1"),
    (["--fps", "0"], 2, "--fps must be positive, not 0"),
    (["--plan", "p.toml", "--fps", "3"], 2, "--plan says the folding, the clock, the result and the buffers"),
    (["--fps", "many"], 2, "argument --fps: it must be a number or 'max', not 'many'"),
    (["--clock", "auto", "--board", "icebreaker"], 2, "--clock auto needs --bitstream: it is what routing finds that sets the"),
    (["--clock", "fast"], 2, "argument --clock: it must be a number or 'auto', not 'fast'"),
    (["--clock", "0"], 2, "--clock must be positive, not 0"),
    (["--board", "icebreaker", "--device", "up5k"], 2, "argument --device: not allowed with argument --board"),
    (["--plan", "none.toml"], 1, "error: none.toml: No such file or directory"),
    (["--fps", "1e9"], 1, "error: 1,000,000,000 images/s at 24 MHz: at most one image per cycle is possible"),
    (["--verify", "10001"], 1, "error: there are 10,000 test images, not 10,001"),
    (["--fps", "max"], 2, "--fps max needs --board or --device, which says how much room there is"),
    (["--latency", "1e-3"], 2, "--latency needs --board or --device, which says how much room there is"),
    (["--latency", "1e-3", "--fps", "9", "--device", "up5k"], 2, "--fps and --latency: one of them is the goal"),
    (["--latency", "-1", "--device", "up5k"], 2, "--latency must be positive, not -1"),
    (["--latency", "1e-6", "--device", "up5k"], 1, "error: no plan for up5k has a latency of 24 cycles"),
    (["--device", "up5k", "--fps", "1e6"], 1, "error: 1,000,000 images/s do not fit up5k: "),
    (["mnist-sfc", "--board", "icebreaker"], 1, "the network does not fit up5k: what comes nearest takes "),
])
def test_mistakes_are_one_line(arguments, status, message, tmp_path):
    done = bnnhw(*arguments, cwd=tmp_path)
    assert done.returncode == status, done.stderr
    lines = [line for line in done.stderr.splitlines() if "error" in line]
    assert len(lines) == 1 and message in lines[0]
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == [] or not any((tmp_path / "build").iterdir())


def test_a_wrong_setting_is_said_before_the_work(small, tmp_path):
    """Not by the tool that comes first, which is missing here."""
    env = {"BNNHW_ROUTE_MINUTES": "soon", "BNNHW_YOSYS": str(tmp_path / "none")}
    done = bnnhw(small, "--board", "icebreaker", "--bitstream", "-o", tmp_path / "out", env=env)
    assert done.returncode == 1 and done.stderr == "error: BNNHW_ROUTE_MINUTES must be a number of minutes above 0, not 'soon'\n"
    assert not (tmp_path / "out").exists()


def damaged(path, change):
    data = bytearray(models.path("mnist-tfc").read_bytes())
    path.write_bytes(change(data))
    return path


@pytest.mark.parametrize("change, message", [
    (lambda data: data[:len(data) // 2], "it is truncated or damaged"),
    (lambda data: data[:-100] + bytes([data[-100] ^ 4]) + data[-99:], "its digest does not match its content"),
    (lambda data: b"hello", "it is not a .bnn file, or it is truncated"),
])
def test_damaged_models(change, message, tmp_path):
    path = damaged(tmp_path / "net.bnn", change)
    done = bnnhw(path, "-o", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.strip().splitlines() == [f"error: {path}: " + done.stderr.split(": ", 2)[2].strip()]
    assert message in done.stderr
    assert not (tmp_path / "out").exists()


def test_unwritable_output(small, tmp_path):
    (tmp_path / "file").write_text("")
    done = bnnhw(small, "-o", tmp_path / "file" / "out")
    assert done.returncode == 1 and done.stderr == f"error: {tmp_path / 'file'}: it is a file, not a folder\n"
    done = bnnhw(small, "-o", "/proc/out")      # which not even root can write
    assert done.returncode == 1 and done.stderr.startswith("error: /proc: it cannot be written: ")


def test_missing_tool(small, tmp_path):
    done = bnnhw(small, "--verify", "3", "-o", tmp_path / "out", env={"BNNHW_VERILATOR": "/nowhere/verilator"})
    assert done.returncode == 1
    assert "error: BNNHW_VERILATOR is '/nowhere/verilator', which is not a program" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_leaves_nothing(tmp_path, how):
    """Ctrl-C, or a polite kill, while the simulator is being compiled: its compilers end, too."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bnnhw.build", "--verify", "5", "-o", str(tmp_path / "out")], stderr=subprocess.PIPE, text=True,
        env=os.environ | {"BNNHW_CACHE": str(tmp_path / "cache")}, start_new_session=True)
    for line in process.stderr:
        if "compiling" in line:
            break
    time.sleep(1)
    os.kill(process.pid, how)
    rest = process.stderr.read()
    assert process.wait(timeout=20) == 130
    assert rest.strip().splitlines()[-1] == "interrupted" and "Traceback" not in rest
    assert [p.name for p in tmp_path.iterdir()] == ["cache"]
    kept = [p for p in (tmp_path / "cache").rglob("*") if p.is_file() and not p.name.endswith(".lock")]
    assert not kept, kept
    process.stderr.close()
