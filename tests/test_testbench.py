"""The plain testbench passes on what a build writes, and fails when a beat is wrong, missing or too many."""
import re
import shutil
import subprocess

import pytest

from bnnhw import accelerator, folding, testbench, tools
from bnnhw.lower import lower

from . import networks

CYCLES = r"\d+ cycles"


def planned(network, scores=True):
    return folding.fold(network, lower(network, scores=scores), clock_hz=24_000, fps=1000)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with a build's Verilog and its testbench, and the plan."""
    folder = tmp_path_factory.mktemp("tb")
    plan = planned(networks.dense_network((9, 6, 5), affine=True, seed=3))
    (folder / "tiny.v").write_text(accelerator.verilog(plan))
    texts = testbench.files(plan, "tiny", frames=6)
    assert list(texts) == ["tiny_tb.v", "tiny_tb_input.hex", "tiny_tb_expected.hex"]
    for name, text in texts.items():
        (folder / name).write_text(text)
    return folder, plan


def compiled(folder):
    """Command of the testbench in ``folder``, built by Verilator as its header says."""
    header = (folder / "tiny_tb.v").read_text()
    command, program = re.search(r"\$ verilator (.*)\n//   \$ (.*)\n", header).groups()
    tools.find("verilator").run([*command.split(), "-j", "2"], cwd=folder)
    return [str(folder / program)]


def play(command, folder, tmp_path, change=None):
    """Run ``command`` on the vectors of ``folder``, after ``change(lines)`` of the expected ones; (status, last line)."""
    for path in folder.glob("*.hex"):
        shutil.copy(path, tmp_path)
    if change:
        path = tmp_path / "tiny_tb_expected.hex"
        lines = path.read_text().split()
        change(lines)
        path.write_text("\n".join(lines) + "\n")
    done = subprocess.run(command, cwd=tmp_path, text=True, capture_output=True)
    verdicts = [line for line in done.stdout.splitlines() if line.startswith(("PASS", "FAIL"))]
    assert len(verdicts) == 1, done.stdout
    return done.returncode, verdicts[0]


def flip(line, bit):
    def change(lines):
        lines[line] = f"{int(lines[line], 16) ^ 1 << bit:0{len(lines[line])}x}"
    return change


def check(command, folder, plan, tmp_path):
    beats, bits = plan.result_beats, 8 * plan.bytes_per_beat
    status, verdict = play(command, folder, tmp_path)
    assert status == 0 and re.fullmatch(rf"PASS: 8 results in {CYCLES}", verdict)
    for line, bit in ((0, 0), (3 * beats + 2, bits - 1), (8 * beats - 1, 0), (4, bits), (6 * beats, bits + 1)):
        status, verdict = play(command, folder, tmp_path, flip(line, bit))
        assert status != 0 and verdict.startswith(f"FAIL: result {line // beats}, beat {line % beats}: expected "), verdict


def test_verilator(built, tmp_path):
    check(compiled(built[0]), *built, tmp_path)


@pytest.mark.skipif(not shutil.which("iverilog"), reason="Icarus Verilog is not installed")
def test_icarus(built, tmp_path):
    folder, _ = built
    header = (folder / "tiny_tb.v").read_text()
    command, run = re.search(r"\$ iverilog (.*)\n//   \$ vvp (.*)\n", header).groups()
    subprocess.run(["iverilog", *command.split()], cwd=folder, check=True)
    check(["vvp", str(folder / run)], *built, tmp_path)


def test_hang(built, tmp_path):
    """An accelerator that gives no result makes the testbench give up."""
    folder, _ = built
    broken, count = re.subn(r"\.o__valid\(m_axis_tvalid\)", ".o__valid()", (folder / "tiny.v").read_text())
    broken, wires = re.subn("wire m_axis_tvalid;", "wire m_axis_tvalid = 1'h0;", broken)
    assert count == wires == 1
    (tmp_path / "tiny.v").write_text(broken)
    shutil.copy(folder / "tiny_tb.v", tmp_path)
    status, verdict = play(compiled(tmp_path), folder, tmp_path)
    assert status != 0 and re.fullmatch(r"FAIL: no result beat for \d+ cycles; 0 of 48 came", verdict), verdict


def test_vectors_class_only():
    """One beat per frame, several lanes, and the frame rules in the vectors: a short and a long packet, flagged."""
    plan = planned(networks.dense_network((7, 4), (4, 3, 1), seed=1), scores=False)
    beats = plan.frame_elements // plan.input_lanes
    texts = testbench.files(plan, "n", frames=2)
    words = [int(line, 16) for line in texts["n_tb_input.hex"].split()]
    lasts = [k for k, word in enumerate(words) if word >> 8 * plan.input_lanes]
    assert [b - a for a, b in zip([-1, *lasts], lasts, strict=False)] == [beats, beats, beats - 1, beats + 1]
    assert lasts[-1] == len(words) - 1
    expected = [int(line, 16) for line in texts["n_tb_expected.hex"].split()]
    assert [word >> 8 for word in expected] == [0b01, 0b01, 0b11, 0b11]


def test_same_plan_same_files():
    plan = planned(networks.dense_network((7, 4), seed=1))
    assert testbench.files(plan, "n") == testbench.files(plan, "n")
