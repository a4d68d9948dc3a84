import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bnnhw.train import recipe  # noqa: E402 - torch first, so that all is skipped without it
from bnnhw.train.estimators import HardTanh, Identity, sign  # noqa: E402
from bnnhw.train.layers import BatchNorm, BinaryConv2d, BinaryLinear  # noqa: E402
from bnnhw.train.weights import MeanMagnitude, Signs  # noqa: E402

from . import training  # noqa: E402

torch.set_num_threads(1)


def generator():
    return torch.Generator().manual_seed(1)


def test_linear_sums_signs():
    layer = BinaryLinear(1000, 30, spread=0.1, generator=generator())
    assert 0.09 < layer.weight.abs().max() <= 0.1
    x = sign(torch.randn(50, 1000, generator=generator()), Identity())
    want = x.numpy().astype(np.int64) @ np.where(layer.weight.detach().numpy() >= 0, 1, -1).T
    assert np.array_equal(layer(x).detach().numpy(), want)


def test_linear_gradient_is_that_of_the_signs():
    layer = BinaryLinear(5, 2, generator=generator())
    x = torch.randn(3, 5, generator=generator(), requires_grad=True)
    upstream = torch.randn(3, 2, generator=generator())
    (layer(x) * upstream).sum().backward()
    assert torch.allclose(layer.weight.grad, upstream.T @ x)
    assert torch.allclose(x.grad, upstream @ layer.signs())


def test_gradient_of_signs_and_their_scale():
    """XNOR-Net's: that of the signs by hardtanh times alpha, and that of alpha, sign(w) / n."""
    layer = BinaryLinear(5, 2, weights=Signs(HardTanh()), scale=MeanMagnitude(), spread=2.0, generator=generator())
    x, upstream = torch.randn(3, 5, generator=generator()), torch.randn(3, 2, generator=generator())
    weight, signs = layer.weight.detach(), layer.signs().detach()
    assert 0 < int((weight.abs() > 1).sum()) < 10
    (layer(x) * upstream).sum().backward()
    alpha = weight.abs().mean(1, keepdim=True)
    of_alpha = (upstream * (x @ signs.T)).sum(0)[:, None]
    assert torch.allclose(layer.weight.grad, alpha * (upstream.T @ x) * (weight.abs() <= 1) + of_alpha * signs / 5, atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 5])
@pytest.mark.parametrize("kernel, padding", [(1, 0), (2, 1), (3, 0), (3, 1)])
def test_windows_are_a_convolution(channels, kernel, padding):
    """In eval mode, channels last in memory or not."""
    layer = BinaryConv2d(channels, 4, kernel, padding, generator=generator()).eval()
    x = torch.randint(0, 256, (3, channels, 7, 5), generator=generator()).float()
    padded = torch.nn.functional.pad(x.double(), (padding,) * 4, value=-1.0)
    want = torch.nn.functional.conv2d(padded, layer.signs().double())
    with torch.no_grad():
        for given in (x, x.contiguous(memory_format=torch.channels_last)):
            assert torch.equal(layer(given).double(), want)
        assert torch.equal(layer(x[:, :, ::2]), layer(x[:, :, ::2].contiguous()))


def test_clip():
    layer = BinaryLinear(5, 2, generator=generator())
    with torch.no_grad():
        layer.weight[:] = torch.tensor([-3, -1, 0.5, 1, 7])
    layer.after_step()
    assert layer.weight.tolist() == [[-1, -1, 0.5, 1, 1]] * 2


def norm(channels):
    """A batch norm with random parameters."""
    found = BatchNorm(channels)
    with torch.no_grad():
        for value in (found.gamma, found.beta, found.mean):
            value.copy_(torch.randn(channels, generator=generator()))
        found.var.copy_(torch.rand(channels, generator=generator()) * 50)
    return found


def test_batch_norm_is_its_formula():
    found = norm(20).eval()
    s = torch.randint(-99, 100, (64, 20), generator=generator()).float()
    want = (s.double() - found.mean) / torch.sqrt(found.var.double() + 1e-5) * found.gamma + found.beta
    assert torch.allclose(found(s).double(), want, atol=1e-5)
    found.train()
    centred = s - s.mean(0)
    want = centred / torch.sqrt(centred.square().mean(0) + 1e-5) * found.gamma + found.beta
    assert torch.allclose(found(s), want, atol=1e-5)


def test_batch_norm_gives_an_integer_the_same_in_any_batch():
    found = norm(33).eval()
    s = torch.randint(-784, 785, (257, 33), generator=generator()).float()
    whole = found(s)
    for size in (1, 2, 7, 100):
        assert torch.equal(torch.cat([found(part) for part in s.split(size)]), whole)
    column = s[:, 5:6].expand(-1, 33)
    assert torch.equal(found(column)[:, 5], whole[:, 5])


def test_dropout_scales_after_the_integer_sum(tmp_path, monkeypatch):
    trainer = training.trained(tmp_path, epochs=0)
    seen = []
    monkeypatch.setattr(BinaryLinear, "sums", lambda self, x, generator: seen.append((x, x @ self.signs().T)) or seen[-1][1])
    trainer.model.train()
    trainer.model(trainer.images[:100], generator())
    for inputs, sums in seen:
        assert set(inputs.unique().tolist()) <= {-1, 0, 1} and torch.equal(sums, sums.round())
    assert all((inputs == 0).any() for inputs, _ in seen[1:]) and not (seen[0][0] == 0).any()
    assert abs((seen[1][0] == 0).float().mean() - recipe.load(tmp_path / "small.toml").dropout) < 0.05


def test_gradient_of_dropped_inputs():
    layer, x = BinaryLinear(40, 2, generator=generator()).train(), torch.ones(3, 40, requires_grad=True)
    layer.dropped_sums(x, 0.25, generator()).sum().backward()
    kept = torch.rand(3, 40, generator=generator()) >= 0.25
    assert 0 < int(kept.sum()) < 120
    assert torch.allclose(x.grad, kept * layer.signs().sum(0) / 0.75)


def test_pixel_level():
    from bnnhw.train.models import BinaryMlp
    model = BinaryMlp(4, recipe.load("mnist-tfc").model_copy(update={"pixel_level": 128}), 10, generator=generator())
    pixels = torch.tensor([[[[0], [127]], [[128], [255]]]], dtype=torch.uint8)
    assert model.binarize(pixels).tolist() == [[-1, -1, 1, 1]]
