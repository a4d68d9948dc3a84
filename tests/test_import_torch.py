"""A user's own PyTorch modules: their decisions, signs and refusals."""
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from bnnhw import reference
from bnnhw.importers.problems import Refusal
from bnnhw.importers.torch import from_module


class Ste(torch.autograd.Function):
    """Sign with sign(0) = +1 and the gradient of hardtanh, as many repositories have it."""
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.where(x >= 0, 1.0, -1.0).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient):
        x, = ctx.saved_tensors
        return gradient * (x.abs() <= 1)


def binarize(x):
    if x.requires_grad:     # a decision that torch.fx cannot follow
        return x.sign()
    return torch.where(x > 0, 1.0, -1.0).to(x.dtype)


class Bin(nn.Module):
    """Signs of a user's own scale."""
    def __init__(self, scale=0.5):
        super().__init__()
        self.scale = scale

    def forward(self, x):
        return torch.where(x.detach() < 0, -self.scale, self.scale) + 0 * x


class BinaryLinear(nn.Linear):
    """XNOR-Net's weights: a sign times a magnitude for each channel."""
    def forward(self, x):
        return F.linear(x, self.weight.sign() * self.weight.abs().mean(1, keepdim=True), self.bias)


class BinaryConv2d(nn.Conv2d):
    def forward(self, x):
        return self._conv_forward(x, self.weight.sign(), self.bias)


class Mlp(nn.Module):
    def __init__(self, sizes=(12, 9, 7, 4)):
        super().__init__()
        self.layers = nn.ModuleList(BinaryLinear(a, b) for a, b in zip(sizes, sizes[1:], strict=False))
        self.norms = nn.ModuleList(nn.BatchNorm1d(n) for n in sizes[1:])

    def forward(self, x):
        x = Ste.apply(2 * x.view(x.size(0), -1) - 1)
        for k, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = norm(layer(x))
            x = Ste.apply(x) if k < len(self.layers) - 1 else x
        return F.log_softmax(x, dim=1)


class Cnn(nn.Module):
    """Convolutions with zero padding of signs, pools on both sides of the sign, a shortcut, an average."""
    def __init__(self):
        super().__init__()
        self.first, self.second = BinaryConv2d(2, 6, 3, padding=1, bias=False), BinaryConv2d(6, 6, 3, padding="same")
        self.third = BinaryConv2d(6, 8, (3, 1), stride=(2, 1))
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) for c in (6, 6, 8))
        self.sign, self.pool, self.drop = Bin(), nn.MaxPool2d(2), nn.Dropout(0.5)
        self.head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64, affine=False), Bin(1.0), BinaryLinear(64, 5, bias=False))

    def forward(self, x):
        x = self.pool(self.sign(self.norms[0](self.first(x - 0.5))))
        x = x + self.sign(self.norms[1](self.second(x)))
        x = self.drop(self.norms[2](self.third(self.sign(x - 0.25))))
        return self.head(x)


@torch.no_grad()
def randomize(model, given, seed):
    """Random parameters with batch norms that have seen the inputs ``given``; some of them fall."""
    generator = torch.Generator().manual_seed(seed)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)) and module.affine:
            module.weight.data = torch.randn(module.num_features, generator=generator)
            module.bias.data = torch.randn(module.num_features, generator=generator) / 4
        elif isinstance(module, (nn.Linear, nn.Conv2d)):
            module.weight.data = torch.randn(module.weight.shape, generator=generator)
            if module.bias is not None:
                module.bias.data = torch.randn(module.bias.shape, generator=generator)
    model.train()
    for _ in range(20):
        model(given)
    return model


def images(shape, n, seed=0):
    """Integers as we take them, and the same as the model does."""
    x = np.random.default_rng(seed).integers(0, 256, (n, *shape))
    maps = x.transpose(0, 3, 1, 2) if x.ndim == 4 else x
    return x, torch.from_numpy(maps.copy()).float() / 255


@torch.no_grad()
def agree(model, found, x, given):
    """Every image's class is the one of the model itself, computed in float64, ties to the lowest."""
    model = model.eval()
    scores = model.double()(given.double())
    model.float()
    ours = reference.run(found.network, x)[found.network.outputs[0]]
    assert np.array_equal(ours, scores.numpy().argmax(1))
    return set(ours.tolist())


@pytest.mark.parametrize("seed", range(4))
def test_mlp(seed):
    x, given = images((12,), 500, seed)
    model = randomize(Mlp(), given, seed)
    found = from_module(model, given[:50], (Ste,))
    assert len(agree(model, found, x, given)) > 1
    assert found.provenance["imported"]["checked"] == {"examples": 50, "differing_decisions": 0, "equal_scores": 0}
    kinds = [op.kind for op in found.network.operations.values()]
    assert kinds[:7] == ["Input", "Threshold", "Dense", "Threshold", "Dense", "Threshold", "Dense"]


def test_cnn():
    x, given = images((12, 8, 2), 200)
    model = randomize(Cnn(), given, 3)
    found = from_module(model, given[:20], (Bin,))
    assert len(agree(model, found, x, given)) > 2
    assert [op.name for op in found.network.operations.values() if op.kind == "Conv2d"] == ["first", "second", "third"]


@torch.no_grad()
def test_hidden_signs():
    """Each sign of the model is a Threshold of the network, and equal on every image."""
    x, given = images((12,), 300)
    model = randomize(Mlp(), given, 1).eval()
    found = from_module(model, given[:1], (Ste,))
    edges = [op.name for op in found.network.operations.values() if op.kind == "Threshold"]
    ours = reference.run(found.network, x, keep=edges)
    hidden = Ste.apply(2 * given - 1)
    for k, edge in enumerate(edges):
        assert np.array_equal(ours[edge], hidden.numpy()), edge
        hidden = Ste.apply(model.norms[k](model.layers[k](hidden)))


def test_a_function_of_the_user():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 3, bias=False)

        def forward(self, x):
            return self.fc(binarize(x - 127.5))
    model = Model()
    model.fc.weight.data = torch.tensor(np.random.default_rng(0).choice([-0.25, 0.0, 0.25], (3, 6)), dtype=torch.float32)
    x, _ = images((6,), 100)
    found = from_module(model, torch.zeros(1, 6, dtype=torch.int64), (binarize,))
    assert len(agree(model, found, x, torch.from_numpy(x).float())) > 1


@pytest.mark.parametrize("zero, want", [(1.0, 3), (-1.0, 3), (0.0, None)])
def test_what_a_sign_gives_at_zero(zero, want):
    class Sign(nn.Module):
        def forward(self, x):
            return torch.where(x == 0, zero, torch.where(x > 0, 1.0, -1.0)).to(x.dtype)
    model = nn.Sequential(Sign(), nn.Linear(2, 2, bias=False))
    model[1].weight.data = torch.tensor([[1.0, 1.0], [-1.0, 1.0]])

    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.rest = model

        def forward(self, x):
            return self.rest(x - 3)
    found = from_module(Shifted(), torch.zeros(1, 2), (Sign,), input_scale=1, input_limits=(0, 7, 1))
    x = np.stack(np.meshgrid(np.arange(8), np.arange(8)), -1).reshape(-1, 2)
    agree(Shifted(), found, x, torch.from_numpy(x).float())
    threshold = next(op for op in found.network.operations.values() if op.kind == "Threshold")
    assert threshold.levels[0].tolist() == ([want] if want else [3, 4])
    assert threshold.falling.all() == (zero == -1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_random_models(seed):
    rng = np.random.default_rng(seed)
    sizes = tuple(int(n) for n in rng.choice([1, 2, 3, 5, 8, 17], 3)) + (int(rng.integers(2, 6)),)
    layers = [nn.Flatten()]
    for k, (a, b) in enumerate(zip(sizes, sizes[1:], strict=False)):
        layers += [Bin(float(rng.choice([0.25, 1.0, 3.0])))] if k or rng.random() < 0.5 else []
        layers += [BinaryLinear(a, b, bias=bool(rng.integers(2)))]
        layers += [nn.BatchNorm1d(b, affine=bool(rng.integers(2)))] if k < 2 else []
        layers += [nn.Hardtanh()] if k < 2 and rng.random() < 0.5 else []
    x, given = images(sizes[:1], 60, seed)
    model = randomize(nn.Sequential(*layers), given, seed)
    # Without a first sign the sums are of many values: scores of several magnitudes have no short fixed point.
    for module in model:
        if isinstance(module, nn.Linear):
            module.bias = None if module is layers[-1] else module.bias
    last = layers[-1]
    last.weight.data = last.weight.data.sign()
    found = from_module(model, given[:1], (Bin,))
    agree(model, found, x, given)


def test_the_model_is_left_as_it_was():
    model = randomize(Mlp(), images((12,), 9)[1], 0).train()
    model.norms[1].eval()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    apply = Ste.apply
    from_module(model, torch.zeros(1, 12), (Ste,))
    assert model.training and model.norms[0].training and not model.norms[1].training
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert Ste.apply == apply and "apply" not in vars(Ste)


def test_examples_that_float32_decides_otherwise():
    """0.1 x 3 - 0.3 is 0 in float32 but not of the stored numbers: the provenance counts the images and names the place."""
    class Model(nn.Module):
        def forward(self, x):
            return F.linear(Ste.apply(x * torch.tensor(0.1) - torch.tensor(0.3)), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    x = torch.tensor([[3, 0], [0, 3], [1, 1]])
    found = from_module(Model(), x, (Ste,), input_limits=(0, 7, 1))
    exact = [float(np.float64(np.float32(0.1)) * t - np.float64(np.float32(0.3)) >= 0) for t in range(8)]
    single = [float(np.float32(0.1) * np.float32(t) - np.float32(0.3) >= 0) for t in range(8)]
    places = [t for t in range(8) if exact[t] != single[t]]
    ties = found.provenance["float32_ties"]
    assert [(tie["channel"], tie["sum"]) for tie in ties] == [(c, t) for c in range(2) for t in places]


class Bad(nn.Module):
    def __init__(self, body, **modules):
        super().__init__()
        self.body = body
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.body(self, x)


def conv(out=3, **settings):
    module = nn.Conv2d(2, out, 3, bias=False, **settings)
    module.weight.data.fill_(1)
    return module


def linear(n=72, out=4):
    module = nn.Linear(n, out, bias=False)
    module.weight.data.fill_(1)
    return module


def broken(module, **values):
    for key, value in values.items():
        getattr(module, key).data.fill_(value)
    return module


def ended(body, **modules):
    return Bad(lambda s, x: s.fc(body(s, x).flatten(1)), fc=linear(), **modules)


REFUSED = {
    "float weights": (Bad(lambda s, x: s.fc(x.flatten(1)), fc=nn.Linear(72, 4)),
                      "node 'fc' (Linear): output channel 0 has weights of magnitudes"),
    "unknown operation": (ended(lambda s, x: torch.sigmoid(x)), "node 'sigmoid' (sigmoid): this operation is not known"),
    "unknown module": (ended(lambda s, x: s.act(x), act=nn.GELU()), "node 'act' (GELU): this operation is not known"),
    "nan": (ended(lambda s, x: s.bn(x), bn=broken(nn.BatchNorm2d(2), running_mean=float("nan"))),
            "node 'bn' (BatchNorm2d): the batch norm's mean is nan"),
    "variance": (ended(lambda s, x: s.bn(x), bn=broken(nn.BatchNorm2d(2), running_var=-1)),
                 "node 'bn' (BatchNorm2d): channel 0: the batch norm's variance is -1.0"),
    "no statistics": (ended(lambda s, x: s.bn(x), bn=nn.BatchNorm2d(2, track_running_stats=False)),
                      "node 'bn' (BatchNorm2d): it normalizes by the batch; accepted: running statistics"),
    "dilated": (ended(lambda s, x: s.conv(x), conv=conv(dilation=2)), "node 'conv' (Conv2d): its dilation is (2, 2)"),
    "grouped": (ended(lambda s, x: s.conv(x), conv=conv(out=4, groups=2)),
                "node 'conv' (Conv2d): it has 2 groups for 2 channels in and 4 out"),
    "mirrored": (ended(lambda s, x: s.conv(x), conv=conv(padding=1, padding_mode="reflect")),
                 "node 'conv' (Conv2d): its padding_mode is 'reflect'; accepted: zeros"),
    "padded pool": (ended(lambda s, x: s.pool(x), pool=nn.MaxPool2d(2, padding=1)), "node 'pool' (MaxPool2d): it pads by 1"),
    "ceil": (ended(lambda s, x: s.pool(x), pool=nn.MaxPool2d(4, ceil_mode=True)), "node 'pool' (MaxPool2d): ceil_mode gives"),
    "product": (ended(lambda s, x: x * x), "node 'mul' (mul): it multiplies two tensors that both depend on the input"),
    "sum along rows": (ended(lambda s, x: x.mean(1)), "node 'mean' (mean): it is the mean over the dimensions (1,)"),
    "decision": (Bad(lambda s, x: s.fc(x.flatten(1)) if x.sum() > 0 else x, fc=linear()), "torch.fx cannot trace it (TraceError"),
    "map as output": (Bad(lambda s, x: x), "it gives a tensor (1, 2, 6, 6); accepted: scores (N, classes)"),
    "two outputs": (Bad(lambda s, x: (s.fc(x.flatten(1)), x), fc=linear()), "it gives 2 tensors"),
    "constant output": (Bad(lambda s, x: torch.zeros(1, 4)), "what does not depend on its input"),
    "softmax inside": (Bad(lambda s, x: s.fc(x.flatten(1)).softmax(1) * 2, fc=linear()),
                       "node 'softmax' (softmax): its values are used"),
    "softmax module inside": (Bad(lambda s, x: s.last(s.soft(s.fc(x.flatten(1)))), fc=linear(), soft=nn.Softmax(1),
                                  last=linear(4)), "node 'soft' (Softmax): its values are used"),
    "fixed batch": (Bad(lambda s, x: s.fc(x.reshape(2, 36)), fc=linear(36)), "node 'reshape' (reshape): it reshapes"),
    "constant term per place": (ended(lambda s, x: x + torch.arange(6.0)),
                                "node 'add' (add): a term differs from place to place"),
    "normalized by the batch": (ended(lambda s, x: F.batch_norm(x, None, None, training=True)),
                                "node 'batch_norm' (batch_norm): it normalizes by the batch"),
    "wrong size": (Bad(lambda s, x: s.fc(x.flatten(1)), fc=linear(70)), "node 'fc' (Linear): weights of shape (4, 70) for 72"),
    "sign that is none": (ended(lambda s, x: s.act(x), act=Bin(float("nan"))),
                          "node 'act' (Bin): it is declared a sign, but differs from place to place or is not finite"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case):
    model, message = REFUSED[case]
    with pytest.raises(Refusal) as caught:
        from_module(model, torch.zeros(1, 2, 6, 6), (Bin,))
    assert message in str(caught.value) and "\n" not in str(caught.value), str(caught.value)


class Step(nn.Module):
    """Declared a sign, but something else."""
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("function, message", [
    (lambda x: x.clamp(-1, 1), "it is declared a sign, but gives 1e-30 at 1e-30"),
    (lambda x: torch.where(x > 0.2, 1.0, -1.0), "it is declared a sign, but gives"),
    (lambda x: x[:1], "it is declared a sign, but does not give a tensor of its input's shape"),
    (lambda x: x.reshape(7, 7), "it is declared a sign, but fails on a tensor"),
    (lambda x: torch.where(x == 0, 0.5, x.sign()), "it is declared a sign, but gives 0.5 at 0, -1 below and 1 above"),
    (lambda x: torch.where(x < 0, -1.0, 1.0) * torch.where(torch.arange(72) == 3, -1, 1), None),
])
def test_declared_signs_are_tried(function, message):
    model = nn.Sequential(nn.Flatten(), Step(function), linear())
    if message is None:     # each channel may have its own
        assert from_module(model, torch.zeros(1, 2, 6, 6), (Step,)).network.outputs
        return
    with pytest.raises(Refusal) as caught:
        from_module(model, torch.zeros(1, 2, 6, 6), (Step,))
    assert message in str(caught.value), str(caught.value)


def test_wrong_calls():
    with pytest.raises(Refusal, match="signs has 'sign'; accepted: classes of modules"):
        from_module(Mlp(), torch.zeros(1, 12), ("sign",))
    with pytest.raises(Refusal, match=r"the example is no tensor \(N, C, H, W\)"):
        from_module(Mlp(), [0.0] * 12, (Ste,))
