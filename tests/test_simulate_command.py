"""``bnnhw simulate`` as a user runs it."""
import hashlib
import json
import re
import shutil
import subprocess
import sys

import pytest

from bnnhw import accelerator, artifact, folding, planfile, report
from bnnhw.lower import lower

from . import networks


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A folder like those of `bnnhw build`, with the network beside it."""
    folder = tmp_path_factory.mktemp("build")
    network = networks.dense_network((9, 6, 5), affine=True, seed=3)
    artifact.save(folder / "tiny.bnn", artifact.Artifact(network))
    plan = folding.fold(network, lower(network, scores=True), clock_hz=24_000_000, fps=100_000)
    (folder / "built").mkdir()
    (folder / "built" / "plan.toml").write_text(planfile.dumps(plan))
    write_verilog(folder / "built", plan, accelerator.verilog(plan))
    return folder, plan


def write_verilog(folder, plan, text):
    """The Verilog and a report that knows it."""
    (folder / "tiny.v").write_text(text)
    (folder / "report.json").write_text(json.dumps({
        "model": {"name": "tiny"}, "layers": report.layers(plan), "verilog_sha256": hashlib.sha256(text.encode()).hexdigest()}))


def simulate(*arguments, cwd):
    return subprocess.run([sys.executable, "-m", "bnnhw.simulate", *map(str, arguments)], cwd=cwd, text=True,
                          capture_output=True)


def test_equal(built):
    folder, plan = built
    done = simulate("built", "--model", "tiny.bnn", "--images", 50, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert (f"interval {plan.cycles_per_inference:,} cycles (plan: {plan.cycles_per_inference:,}), "
            f"latency {plan.latency_cycles:,} cycles (plan: {plan.latency_cycles:,})\n") in done.stdout
    assert "equal to the golden model: binarize, act1, act2, fc3, scaled, class\n" in done.stdout
    # The same network without a folder has the same plan, so the same Verilog and no further compilation.
    done = simulate("tiny.bnn", "--images", 50, "--stalls", 0.5, 0.5, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "compiling" not in done.stdout and "interval" not in done.stdout


def test_mismatch(built, tmp_path):
    folder, plan = built
    shutil.copytree(folder / "built", tmp_path / "built")
    verilog = (tmp_path / "built" / "tiny.v").read_text()
    broken, count = re.subn(r" >= 8'h", r" < 8'h", verilog)      # the input's threshold
    assert count == 1
    write_verilog(tmp_path / "built", plan, broken)
    done = simulate("built", "--model", folder / "tiny.bnn", "--images", 10, cwd=tmp_path)
    assert done.returncode == 1
    assert re.search(r"^layer 'binarize', channel 0 at \(\d, \d\), image 0: expected -?1, got -?1 \(edge 'binarize'; "
                     r"\d+ of its 12 values differ\)$", done.stdout, re.M)
    assert re.fullmatch(r"error: \d+ of 10 images differ from the golden model\n", done.stderr)


@pytest.mark.parametrize("file", ["tiny.v", "plan.toml"])
def test_files_of_two_builds(built, tmp_path, file):
    """A plan that was edited, or Verilog that was, must not be run as if it belonged to the rest."""
    folder, _ = built
    shutil.copytree(folder / "built", tmp_path / "built")
    text = (tmp_path / "built" / file).read_text()
    edited = text + "// mine\n" if file == "tiny.v" else text.replace("lanes = 1\n", "lanes = 12\n", 1)
    (tmp_path / "built" / file).write_text(edited)
    done = simulate("built", "--model", folder / "tiny.bnn", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("error: built: Verilog, plan.toml and report.json are not of one build")


@pytest.mark.parametrize("arguments, code, message", [
    (["nothing.bnn"], 1, r"error: model 'nothing.bnn': there is no such file, and the shipped networks are .*\n"),
    (["."], 1, r"error: \.: it is not a folder that `bnnhw build` wrote: report.json is missing or damaged\n"),
    (["tiny.bnn", "--images", "0"], 2, r"error: --images must be at least 1, not 0 \(.*\n"),
    (["tiny.bnn", "--stalls", "0", "1"], 2, r"error: --stalls must be above 0 and at most 1, not 0 and 1 \(.*\n"),
    (["tiny.bnn", "--seed", "9" * 30], 2, r"error: --seed must be from 0 to 2\*\*63 - 1, not 9+ \(.*\n"),
    (["tiny.bnn", "--model", "tiny.bnn"], 1, r"error: --model belongs to a build folder\n"),
    (["tiny.bnn", "--images", "many"], 2, r"error: argument --images: invalid int value: 'many' \(.*\n"),
])
def test_wrong_input(built, arguments, code, message):
    folder, _ = built
    done = simulate(*arguments, cwd=folder)
    assert done.returncode == code
    assert re.fullmatch(message, done.stderr), done.stderr
