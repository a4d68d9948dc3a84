"""Modules of Brevitas: the same decisions and the same signs as their own forward."""
import numpy as np
import pytest
import torch
from torch import nn

from bnnhw import reference
from bnnhw.errors import UserError
from bnnhw.importers import brevitas as importer
from bnnhw.importers.problems import Refusal

qnn = pytest.importorskip("brevitas.nn", exc_type=ImportError)
quant = pytest.importorskip("brevitas.quant", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore")      # Brevitas and torch's exporter warn of themselves


class UnitWeights(quant.SignedBinaryWeightPerTensorConst):
    """+1 and -1, as in Brevitas' bnn_pynq examples."""
    scaling_const = 1.0
    scaling_init = 1.0


class UnitSigns(quant.SignedBinaryActPerTensorConst):
    scaling_init = 1.0
    min_val, max_val = -1.0, 1.0


class TensorNorm(nn.Module):
    """One scale and offset for all elements, as the examples end."""
    def __init__(self):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.tensor([0.7])), nn.Parameter(torch.tensor([0.1]))
        self.register_buffer("mean", torch.tensor([1.5]))
        self.register_buffer("variance", torch.tensor([9.0]))

    def forward(self, x):
        return (x - self.mean) / (self.variance + 1e-4).pow(0.5) * self.weight + self.bias


def binary(kind, *sizes, weights=UnitWeights, **settings):
    return kind(*sizes, bias=False, weight_quant=weights, **settings)


def signs():
    return qnn.QuantIdentity(act_quant=UnitSigns)


class Fc(nn.Module):
    """TFC with fewer neurons: signs of 2x - 1, dense, batch norm, sign."""
    def __init__(self, weights=UnitWeights, last=None):
        super().__init__()
        layers, width = [signs()], 49
        for n in (24, 17):
            layers += [nn.Dropout(0.2), binary(qnn.QuantLinear, width, n, weights=weights), nn.BatchNorm1d(n, eps=1e-4), signs()]
            width = n
        self.features = nn.Sequential(*layers)
        self.last = nn.Sequential(binary(qnn.QuantLinear, width, 6, weights=weights), last or TensorNorm())

    def forward(self, x):
        return self.last(self.features(2.0 * x.view(x.shape[0], -1) - 1.0))


class Cnv(nn.Module):
    """CNV with fewer channels: an 8-bit input, convolutions with and without padding, a pool, dense layers."""
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            qnn.QuantIdentity(bit_width=8, narrow_range=True, min_val=-1.0, max_val=1.0 - 2.0**-7),
            binary(qnn.QuantConv2d, 3, 8, 3), nn.BatchNorm2d(8, eps=1e-4), signs(),
            binary(qnn.QuantConv2d, 8, 8, 3, padding=1), nn.BatchNorm2d(8, eps=1e-4), signs(), nn.MaxPool2d(2),
            binary(qnn.QuantConv2d, 8, 12, 3), nn.BatchNorm2d(12, eps=1e-4), signs())
        self.last = nn.Sequential(binary(qnn.QuantLinear, 12 * 9, 16), nn.BatchNorm1d(16), signs(),
                                  binary(qnn.QuantLinear, 16, 5), TensorNorm())

    def forward(self, x):
        return self.last(self.features(2.0 * x - 1.0).flatten(1))


class Bits(nn.Module):
    """Activations of 2 bits between binary layers."""
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            signs(), binary(qnn.QuantLinear, 49, 20), nn.BatchNorm1d(20), qnn.QuantReLU(bit_width=2, max_val=3.0),
            binary(qnn.QuantLinear, 20, 12), nn.BatchNorm1d(12), signs(), binary(qnn.QuantLinear, 12, 4))

    def forward(self, x):
        return self.body(2.0 * x.flatten(1) - 1.0)


def images(shape, n=400):
    """Integers as we take them (H, W, C), and the same as the model does."""
    x = np.random.default_rng(0).integers(0, 256, (n, *shape))
    return x, torch.from_numpy(x.transpose(0, 3, 1, 2).copy()).float() / 255


def trained(model, given, steps):
    """Some steps of Adam on labels by chance: weights that changed signs, batch norms that have seen the inputs."""
    torch.manual_seed(1)
    with torch.no_grad():
        for module in model.modules():      # some channels fall
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.num_features > 1:
                module.weight.copy_(torch.randn(module.num_features))
                module.bias.copy_(torch.randn(module.num_features) / 4)
    labels = torch.arange(len(given)) % 4
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    model.train()
    for _ in range(10):     # statistics first
        model(given)
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(given), labels).backward()
        optimizer.step()
    return model.eval()


CASES = {"fc": (Fc, (7, 7, 1)), "cnv": (Cnv, (12, 12, 3)), "bits": (Bits, (7, 7, 1))}


@pytest.mark.parametrize("steps", [0, 8])
@pytest.mark.parametrize("case", CASES)
def test_decisions(case, steps):
    torch.manual_seed(0)
    kind, shape = CASES[case]
    x, given = images(shape)
    model = trained(kind(), given, steps)
    found = importer.from_module(model, given)
    assert found.provenance["imported"]["checked"] == {"examples": 400, "differing_decisions": 0, "equal_scores": 0}
    with torch.no_grad():
        want = model(given).argmax(1).numpy()
    assert np.array_equal(reference.run(found.network, x)["class"], want)
    assert len(set(want.tolist())) > 2


@torch.no_grad()
def test_hidden_signs():
    """Every sign that Brevitas computes is the network's, channel by channel."""
    torch.manual_seed(3)
    x, given = images((12, 12, 3), 200)
    model = trained(Cnv(), given, 0)
    seen = []
    for module in model.modules():
        if isinstance(module, qnn.QuantIdentity):
            module.register_forward_hook(lambda module, args, out: seen.append(out))
    model(given)
    for module in model.modules():
        module._forward_hooks.clear()
    found = importer.from_module(model, given[:2])
    edges = [op.name for op in found.network.operations.values() if op.kind == "Threshold"]
    ours = reference.run(found.network, x, keep=edges)
    assert len(edges) == len(seen) == 5
    for edge, theirs in zip(edges[1:], seen[1:], strict=True):
        theirs = theirs.numpy()
        assert np.array_equal(ours[edge], theirs.transpose(0, 2, 3, 1) if theirs.ndim == 4 else theirs), edge
    assert np.array_equal(ours[edges[0]], np.rint(seen[0].numpy().transpose(0, 2, 3, 1) * 127))    # steps of 1 / 127


def test_float_sums_that_choose_between_equal_scores():
    """Weights of 0.1: Brevitas' sums are rounded, and decide between classes whose integer scores are equal."""
    torch.manual_seed(0)
    x, given = images((7, 7, 1))
    model = trained(Fc(quant.SignedBinaryWeightPerTensorConst, nn.Identity()), given, 0)
    found = importer.from_module(model, given)
    tried = found.provenance["imported"]["checked"]
    assert tried["differing_decisions"] == tried["equal_scores"] > 0


def test_the_model_is_left_as_it_was():
    torch.manual_seed(0)
    x, given = images((7, 7, 1), 20)
    model = trained(Fc(), given, 2).train()
    model.features[2].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    importer.from_module(model, given)
    assert model.training and model.features[0].training and not model.features[2].training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    nn.functional.cross_entropy(model(given), torch.zeros(20, dtype=torch.long)).backward()


@pytest.mark.parametrize("model, message", [
    (nn.Sequential(nn.Flatten(), nn.Linear(49, 4)), "output channel 0 has weights of magnitudes"),
    (nn.Sequential(nn.Flatten(), qnn.QuantLinear(49, 4, bias=False)), "output channel 0 has weights of magnitudes"),
    (nn.Sequential(nn.Flatten(), nn.Sigmoid(), binary(qnn.QuantLinear, 49, 4)), "(Sigmoid): "),
])
def test_refused(model, message):
    with pytest.raises(Refusal) as caught:
        importer.from_module(model, torch.zeros(1, 1, 7, 7))
    assert str(caught.value).startswith("Sequential: node '") and "\n" not in str(caught.value)
    assert message in str(caught.value)


def test_what_brevitas_cannot_export():
    class Odd(nn.Module):
        def forward(self, x):
            raise ValueError("two\nlines")
    with pytest.raises(Refusal, match=r"^Odd: Brevitas cannot export it to QONNX \(ValueError: two lines\)$"):
        importer.from_module(Odd(), torch.zeros(1, 4))
    with pytest.raises(Refusal, match="the example is no tensor"):
        importer.from_module(Fc(), torch.zeros(0, 1, 7, 7))


def test_without_brevitas(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "brevitas.export", None)
    with pytest.raises(UserError, match=r"pip install 'bnnhw\[brevitas\]'"):
        importer.from_module(Fc(), torch.zeros(1, 1, 7, 7))
