"""Several processes: the loss curve of one, a rank that is killed, what is refused; bfloat16 does not reach the sums."""
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bnnhw import artifact, cli  # noqa: E402
from bnnhw.train import distributed, layers, models, recipe  # noqa: E402
from bnnhw.train.estimators import uniform  # noqa: E402
from bnnhw.train.loop import Trainer  # noqa: E402

from . import training  # noqa: E402

torch.set_num_threads(1)
ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.skipif(not torch.distributed.is_available(), reason="this PyTorch has no torch.distributed")

CNN = """
name = "tiny-cnn"
kind = "cnn"
dataset = "own"
blocks = [{ channels = 4, kernel = 3, padding = 1, pool = true }, { channels = 5, kernel = 3, padding = 0, pool = false }]
hidden = [6]
estimator = "approxsign"
loss = "squared-hinge"
epochs = 2
batch = 16
learning_rate = 0.005
weight_spread = 0.1
score_scale = 1.0
shift = 1
flip = true
seed = 1
"""
RESIDUAL = """
name = "tiny-residual"
kind = "residual"
dataset = "own"
width = 4
pools = [false, true]
shortcuts = true
fraction_bits = 6
estimator = "approxsign"
loss = "cross-entropy"
epochs = 1
batch = 16
learning_rate = 0.0001
weight_spread = 0.5
score_scale = 1.0
shift = 0
flip = false
seed = 1
"""


def torchrun(*arguments, processes=2, **options):
    """Starts processes on this machine; the running command."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
                            env={**os.environ, "OMP_NUM_THREADS": "1"}, **options)


def finished(running, status=0):
    out, _ = running.communicate(timeout=240)
    assert (running.returncode == 0) == (status == 0), out
    return out


def both(tmp_path, file, kind, epochs):
    """What one process and what each of two did."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    arguments = [str(file), kind, str(epochs)]
    running = torchrun("-m", "tests.team", *arguments, str(tmp_path / "two"), cwd=ROOT)
    subprocess.run([sys.executable, "-m", "tests.team", *arguments, str(tmp_path / "one")], cwd=ROOT, check=True)
    finished(running)
    found = [json.loads((tmp_path / place).read_text()) for place in ("one/0.json", "two/0.json", "two/1.json")]
    assert [own["size"] for own in found] == [1, 2, 2]
    return found


def step_losses(first, second):
    """The loss of each global batch, from those of its two shares."""
    assert all(abs(n - m) <= 1 for (_, n), (_, m) in zip(first["losses"], second["losses"], strict=True))
    return [(a * n + b * m) / (n + m) for (a, n), (b, m) in zip(first["losses"], second["losses"], strict=True)]


def test_two_processes_have_the_loss_curve_of_one(tmp_path):
    """In float64, with shifts, dropout, stochastic signs and a last batch norm: equal to 1e-9 in every step; to the bit between
    the two processes."""
    file = training.small_recipe(tmp_path, last_batch_norm="true", batch=20,
                                 methods='[{ name = "binarynet", stochastic = true }]')
    one, first, second = both(tmp_path, file, "double", 4)
    assert np.allclose(step_losses(first, second), [loss for loss, _ in one["losses"]], rtol=1e-9, atol=0)
    for key in ("loss", "train_accuracy", "flip_ratio"):
        assert np.allclose([row[key] for row in first["rows"]], [row[key] for row in one["rows"]], rtol=1e-9, atol=0)
        assert [row[key] for row in first["rows"]] == [row[key] for row in second["rows"]]
    states = [torch.load(tmp_path / place, weights_only=True) for place in ("one/0.pt", "two/0.pt", "two/1.pt")]
    for name, value in states[0].items():
        assert torch.allclose(states[1][name], value, rtol=1e-8, atol=1e-10), name
        assert torch.equal(states[1][name], states[2][name]), name


@pytest.mark.slow
@pytest.mark.parametrize("text", [CNN, RESIDUAL], ids=["cnn", "residual"])
def test_two_processes_in_float32(tmp_path, text):
    """Convolutions, maps in batch norm, fixed point: equal up to rounding."""
    (tmp_path / "r.toml").write_text(text)
    one, first, second = both(tmp_path, tmp_path / "r.toml", "float", 1)
    assert np.allclose(step_losses(first, second), [loss for loss, _ in one["losses"]], rtol=1e-4, atol=0)


class Three(distributed.Team):
    """The middle one of three processes, without the others."""
    def __init__(self):
        distributed.Alone.__init__(self)
        self.rank, self.size = 1, 3


@pytest.mark.parametrize("count", [3, 4, 5, 100])
def test_shares_make_up_the_batch(count):
    team, generator, rows = Three(), distributed.Draws(), []
    for team.rank in range(3):
        generator.manual_seed(5)
        share = team.share(count, generator)
        rows.append(uniform(torch.empty(share.stop - share.start, 2), generator))
        assert share.stop > share.start
    assert torch.equal(torch.cat(rows), torch.rand((count, 2), generator=torch.Generator().manual_seed(5)))


def test_moments(monkeypatch):
    """Of all processes' rows together, with their gradient; here there is one process, whose sums are doubled."""
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda x: x.mul_(2))
    s = torch.randint(-50, 50, (7, 3, 2, 2), generator=torch.Generator().manual_seed(0)).float().requires_grad_()
    mean, var, count = distributed.moments(s)
    assert count == 2 * 28
    assert torch.allclose(mean, s.mean((0, 2, 3))) and torch.allclose(var, s.var((0, 2, 3), correction=0))
    (mean.sum() + (var * torch.tensor([1.0, 2.0, 3.0])).sum()).backward()
    other = s.detach().clone().requires_grad_()
    twice = torch.cat((other, other))
    loss = twice.mean((0, 2, 3)).sum() + (twice.var((0, 2, 3), correction=0) * torch.tensor([1.0, 2.0, 3.0])).sum()
    (2 * loss).backward()       # each of the two processes has this loss
    assert torch.allclose(s.grad, other.grad / 2 * 1.0, rtol=1e-4, atol=1e-6)


def test_no_bfloat16_in_the_sums(tmp_path):
    """Under autocast a sum of 300 signs would be rounded to 8 bits; the loop keeps it away."""
    linear = layers.BinaryLinear(301, 4, generator=torch.Generator().manual_seed(0))
    x = torch.ones(1, 301)
    with torch.no_grad():
        linear.weight.fill_(1.0)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert float(linear(x)[0, 0]) != 301        # what there is to be afraid of
    plain, within = (training.trained(tmp_path, epochs=0, hidden="[12, 7]") for _ in range(2))
    want = plain.run_epoch()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = within.run_epoch()
    assert found["loss"] == want["loss"]
    state = plain.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in within.model.state_dict().items())


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A folder with a.npz and small.toml, current."""
    monkeypatch.chdir(tmp_path)
    part = training.split(100, 1)
    np.savez("a.npz", images=part.images, labels=part.labels)
    training.small_recipe(tmp_path)
    return ["-m", "bnnhw.train", "small.toml", "--data", "a.npz", "--threads", "1", "--device", "cpu"]


def children(process):
    """Process numbers of what torchrun has started, by rank."""
    found = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if f"\nPPid:\t{process.pid}\n" in (entry / "status").read_text():
                given = (entry / "environ").read_bytes().split(b"\0")
                found |= {int(value[5:]): int(entry.name) for value in given if value.startswith(b"RANK=")}
        except OSError:
            pass
    return found


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
@pytest.mark.slow
@pytest.mark.parametrize("restarts", [False, True], ids=["by hand", "by torchrun"])
def test_a_killed_rank(own, tmp_path, restarts):
    """What resumes after rank 1 was killed gives the same file, bit for bit; by hand, or by torchrun's own restart."""
    if restarts:
        own = ["--max-restarts", "1", *own]
    whole = torchrun(*own, "-o", "whole.bnn", "--epochs", "12")
    assert "on 2 processes (cpu)" in finished(whole)
    running = torchrun(*own, "-o", "parts.bnn", "--epochs", "12")
    metrics = tmp_path / "parts.bnn.train/metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and len(metrics.read_text().splitlines()) >= 2):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(children(running)[1], signal.SIGKILL)
    out = finished(running, status=0 if restarts else 1)
    if not restarts:
        assert not (tmp_path / "parts.bnn").exists()
        out = finished(torchrun(*own, "-o", "parts.bnn", "--epochs", "12", "--resume"))
    assert ", from epoch " in out
    for name in ("{}.bnn", "{}.bnn.train/checkpoint.safetensors"):
        assert (tmp_path / name.format("parts")).read_bytes() == (tmp_path / name.format("whole")).read_bytes()
    assert artifact.load("whole.bnn").provenance["trained_on"]["processes"] == 2


@pytest.mark.parametrize("environment, arguments, message", [
    ({"WORLD_SIZE": "2"}, ["mnist-lut4"], "recipe 'mnist-lut4': wiring is learned in one process, on the processor"),
    ({"WORLD_SIZE": "31"}, ["small.toml"], "a batch of 30 cannot be shared by 31 processes"),
    ({}, ["mnist-lut4", "--device", "gpu"], "recipe 'mnist-lut4': wiring is learned in one process, on the processor"),
    ({}, ["small.toml", "--device", "gpu"], "--device gpu: there is none that PyTorch can use"),
])
def test_refused(own, tmp_path, monkeypatch, capsys, environment, arguments, message):
    monkeypatch.setattr(distributed, "_accelerator", lambda: None)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    with pytest.raises(SystemExit) as exit:
        cli.main(["train", *arguments, "-o", "net.bnn"])
    assert exit.value.code == 2 and message in capsys.readouterr().err


def test_a_gpu_is_chosen(monkeypatch):
    """Where there is one, unless told otherwise; the device of this process's number among those of its machine."""
    chosen, index = recipe.load("mnist-tfc"), []
    monkeypatch.setattr(distributed, "_accelerator", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.accelerator, "set_device_index", index.append)
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert distributed.joined(None, chosen).device == torch.device("cuda", 0) and index == [0]
    assert distributed.joined("cpu", chosen).device == torch.device("cpu")
    assert distributed.joined(None, recipe.load("mnist-lut4")).device == torch.device("cpu")


def test_the_loop_moves_batches_to_the_device(tmp_path, monkeypatch):
    """PyTorch's ``meta`` device computes nothing, but refuses to mix with others, as a GPU does."""
    monkeypatch.setattr(torch, "autocast", lambda *arguments, **options: contextlib.nullcontext())     # it knows no such device
    chosen = recipe.load(training.small_recipe(tmp_path, dropout="0.3"))
    split = training.split(60, 1)
    model = models.build(chosen, split)
    trainer = Trainer(model, chosen, split, distributed.Alone(torch.device("meta")))
    with pytest.raises(RuntimeError) as refusal:
        trainer.run_epoch()
    # After the passes forwards and backwards: the optimizer is the first that needs numbers.
    assert any("self.method.step(" in str(entry.statement) for entry in refusal.traceback)
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
