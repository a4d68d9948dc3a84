"""What torch does beside a graph of values: seen, and refused."""
import pytest
import torch
from torch import nn

from bnnhw.importers.problems import Refusal
from bnnhw.importers.torch import from_module

from .test_import_torch import Bin, Mlp, Ste, Step, binarize, images, linear, randomize


class Alias(nn.Module):
    """What torch does and a graph of values does not show; ``kind`` says which."""
    def __init__(self, kind):
        super().__init__()
        self.kind, self.fc, self.second, self.relu = kind, linear(12), linear(4), nn.ReLU(inplace=True)
        if kind == "hook":
            self.fc.register_forward_hook(lambda module, args, out: -out)
        if kind == "root hook":
            self.register_forward_pre_hook(lambda module, args: (-args[0],))
        self.max = self.second

    def forward(self, x):
        y = self.fc(binarize(x - 0.5))
        z = y.view(-1, 4)
        if self.kind == "multiplied":
            y.mul_(-1)
        if self.kind == "added":
            y += 100
        if self.kind == "relu":
            self.relu(y)
        if self.kind == "written":
            y.data = -y
        if self.kind == "half":
            z = z.to(torch.bfloat16).float()
        if self.kind == "indices":
            return z.max(1).indices
        return self.max(z.softmax(1)) if self.kind == "module called max" else z


@pytest.mark.parametrize("kind, message", [
    ("multiplied", "node 'mul_' (mul_): it works in place on a tensor that is used elsewhere, too"),
    ("added", "node 'iadd' (iadd): it works in place on a tensor that is used elsewhere, too"),
    ("relu", "node 'relu' (ReLU): it works in place on a tensor that is used elsewhere, too"),
    ("written", "the forward writes the attribute 'data' of a tensor"), ("hook", "node 'fc' (Linear): it has forward hooks"),
    ("root hook", "Alias: it has forward hooks"), ("half", "it casts to torch.bfloat16"), ("indices", "torch cannot compute it"),
    ("module called max", "(softmax): its values are used"),
])
def test_side_effects_are_refused(kind, message):
    with pytest.raises(Refusal) as caught:
        from_module(Alias(kind), torch.zeros(1, 12), (binarize,))
    assert message in str(caught.value) and "\n" not in str(caught.value), str(caught.value)


def test_in_place_where_nobody_sees_it():
    model = nn.Sequential(linear(12), nn.ReLU(inplace=True), Bin(), linear(4, 3))
    assert from_module(model, torch.zeros(1, 12), (Bin,)).network.outputs


def test_a_model_that_decides_otherwise_is_refused():
    """The net below all else: something that nothing else has noticed."""
    class Sly(Mlp):
        def forward(self, x):
            y = super().forward(x)
            return -y if isinstance(x, torch.Tensor) else y
    _, given = images((12,), 50)
    with pytest.raises(Refusal, match="the model itself decides [0-9]+ of 50 examples otherwise than what was understood of it"):
        from_module(randomize(Sly(), given, 0), given, (Ste,))


@pytest.mark.parametrize("function", [lambda x: x.sign() * x.abs().mean(), lambda x: torch.where(x >= x.mean(), 1.0, -1.0)])
def test_signs_that_depend_on_other_elements(function):
    with pytest.raises(Refusal, match="it is declared a sign, but depends on other elements|elsewhere on that side of 0"):
        from_module(nn.Sequential(nn.Flatten(), Step(function), linear()), torch.zeros(1, 2, 6, 6), (Step,))


def test_examples_that_are_no_integers():
    with pytest.raises(Refusal, match="the example's numbers are not integers of the input's range, nor such / 255"):
        from_module(Mlp(), torch.full((1, 12), 0.3), (Ste,))
    with pytest.raises(Refusal, match="it computes with torch.uint8, which wraps around; accepted: int64, or .float"):
        from_module(Mlp(), torch.zeros(1, 12, dtype=torch.uint8), (Ste,))
