"""The training loop: plain, seeded, resumable at every epoch."""

import contextlib
import math
import time

import torch
from torch import nn

from . import models
from .distributed import Alone
from .estimators import Piece
from .layers import BatchNorm
from .methods import Chosen, FloatTwin

__all__ = ["Trainer", "accuracy", "float_twin", "reestimate"]

TWIN_RATE = 0.001       # Adam's usual one; latent weights of signs want a greater one
GREATEST_BLOCK_BYTES = 31 << 20     # glibc learns from blocks of less than 32 MiB


def _keep_memory():
    """Let the C library keep up to 64 MiB of freed memory, in place of giving it back to the system after every step.

    glibc raises its limits when a block of up to 32 MiB that it had from the system is freed: mallopt(3), M_MMAP_THRESHOLD. Pages
    that are given back are cleared by the system before they come again, a quarter of the time of a small convolutional network.
    """
    torch.empty(GREATEST_BLOCK_BYTES, dtype=torch.uint8)


def _shifted(images, reach, generator):
    """Each image moved by up to ``reach`` pixels in both directions, zeros moving in. uint8 (N, H, W, C)."""
    return _moved(images, reach, *torch.randint(0, 2 * reach + 1, (2, len(images)), generator=generator))


def _slid(images, reach, generator):
    """Each image moved by up to ``reach`` pixels up, down, left or right, each place as likely as any, zeros moving in."""
    steps = range(-reach, reach + 1)
    places = torch.tensor([(step, 0) for step in steps] + [(0, step) for step in steps if step]) + reach
    return _moved(images, reach, *places[torch.randint(0, len(places), (len(images),), generator=generator)].T)


def _moved(images, reach, down, right):
    """Image n from row ``down[n] - reach`` and column ``right[n] - reach`` on, with zeros around it."""
    n, height, width, _ = images.shape
    padded = nn.functional.pad(images, (0, 0, reach, reach, reach, reach))
    rows = (torch.arange(height) + down[:, None])[:, :, None]
    columns = (torch.arange(width) + right[:, None])[:, None, :]
    return padded[torch.arange(n)[:, None, None], rows, columns]


def _turned(images, most, generator):
    """Each image turned about its middle by up to ``most`` degrees, either way."""
    return _turned_by(images, (torch.rand(len(images), generator=generator) * 2 - 1) * math.radians(most))


def _turned_by(images, angles):
    """Image n turned by ``angles[n]``, zeros around it, linear between pixels. uint8 (N, H, W, C)."""
    height, width = images.shape[1:3]
    cos, sin, zero = angles.cos(), angles.sin(), torch.zeros_like(angles)
    places = torch.stack((cos, -sin * height / width, zero, sin * width / height, cos, zero), 1).view(-1, 2, 3)
    planes = images.permute(0, 3, 1, 2).float()
    grid = nn.functional.affine_grid(places, planes.shape, align_corners=False)
    return nn.functional.grid_sample(planes, grid, align_corners=False).round().to(torch.uint8).permute(0, 2, 3, 1)


@torch.no_grad()
def accuracy(model, images, labels):
    """Share of ``images`` that the model, in eval mode, gives the right class (lowest index of equals)."""
    model.eval()
    right = 0
    size, device = model.evaluation_batch, next(model.parameters()).device
    for part, truth in zip(images.split(size), labels.split(size), strict=True):
        right += int((model(part.to(device)).argmax(1).cpu() == truth).sum())
    return right / len(labels)


class _Counted(Exception):
    """A forward pass has come as far as it was to."""


@torch.no_grad()
def reestimate(model, images):
    """Set every batch norm's statistics to those of all ``images``, layer by layer, dropout off.

    Running averages lag behind the last steps of training; the exported thresholds should not. Sums are integers, so mean
    and variance are computed from exact totals.
    """
    model.eval()
    device = next(model.parameters()).device
    for norm in (m for m in model.modules() if isinstance(m, BatchNorm)):
        totals, count = (torch.zeros(shape, dtype=torch.float64, device=device) for shape in ((2, norm.gamma.numel()), (1,)))

        def add(module, inputs, totals=totals, count=count):
            sums = inputs[0].double().transpose(0, 1).flatten(1)        # a row for each channel
            totals += torch.stack((sums.sum(1), sums.square().sum(1)))
            count += sums.shape[1]
            raise _Counted

        with norm.register_forward_pre_hook(add):
            for part in images.split(model.evaluation_batch):
                with contextlib.suppress(_Counted):
                    model(part.to(device))
        mean, square = totals / count
        norm.mean.copy_(mean)
        norm.var.copy_((square - mean.square()).clamp(min=0))


def _groups(model, recipe):
    """The optimizer's groups of parameters: latent weights, and scores of wiring, whose rate is a factor of the others'."""
    groups, latent = {}, {id(layer.weight) for layer in model.binary_layers}
    for name, parameter in model.named_parameters():
        factor = recipe.wiring_rate / recipe.learning_rate if name.endswith(".wiring") else 1.0
        groups.setdefault((factor, id(parameter) in latent), []).append(parameter)
    return [{"params": parameters, "lr": recipe.learning_rate * factor, "factor": factor, "binary": binary}
            for (factor, binary), parameters in groups.items()]


class Trainer:
    """Trains ``model`` by ``recipe``, with the others of a ``team``; all its state is in :meth:`state`, so that a run can go on
    after any epoch.

    Randomness comes from a generator that is seeded by the recipe's seed and the epoch, so a run that was interrupted gives
    bit for bit what an uninterrupted one gives, on the same machine with the same number of threads.
    """
    def __init__(self, model, recipe, split, team=None):
        _keep_memory()
        self.model, self.recipe, self.team = model, recipe, team or Alone()
        self.acting = self.team.wrapped(model)
        self.images, self.labels = torch.from_numpy(split.images.copy()), torch.from_numpy(split.labels)
        self.method = Chosen(recipe)
        self.optimizer = self.method.optimizer(_groups(model, recipe))
        self.epoch = 0
        self.steps = math.ceil(len(self.labels) / recipe.batch)
        lessons = self.method.lessons()
        self.teacher = float_twin(recipe, split, lessons, Alone(self.team.device)) if lessons else None
        self._schedule(0)

    def _schedule(self, epoch):
        """Tell the parts of the network what epoch it is."""
        for piece in self.model.modules():
            if isinstance(piece, Piece):
                piece.on_epoch(epoch, self.recipe.epochs)

    def inexact(self, epoch):
        """A weight binarizer whose forward pass is not signs in ``epoch`` (from 0), so that export refuses it, or None."""
        self._schedule(epoch)
        binarizers = [layer.weights for layer in self.model.binary_layers if hasattr(layer, "weights")]
        return next((binarizer for binarizer in binarizers if not binarizer.exact), None)

    def learning_rate(self, step):
        """The rate of ``step``, counted over all epochs: by default a cosine from the recipe's rate to 0."""
        return self.recipe.learning_rate * self.method.rate(self.recipe, step, self.recipe.epochs * self.steps)

    def _set_rates(self, step):
        """Learning rate and weight decay of the optimizer's groups for ``step``, counted over all epochs."""
        rate, decay = self.learning_rate(step), self.method.decay(self.recipe, step, self.recipe.epochs * self.steps)
        for group in self.optimizer.param_groups:
            group["lr"], group["weight_decay"] = rate * group["factor"], decay if group["binary"] else 0.0

    def _loss(self, images, labels, scores):
        taught = None
        if self.teacher:
            self.teacher.model.eval()
            with torch.no_grad():
                taught = self.teacher.acting(images)
        penalty = sum(layer.weights.penalty(layer.weight) for layer in self.model.binary_layers if hasattr(layer, "weights"))
        return self.method.loss(self.recipe, scores, labels, taught) + penalty

    def run_epoch(self, on_step=lambda: None):
        """Train one epoch and give its metrics.

        Keys: epoch, loss, train_accuracy (of the training passes), flip_ratio (share of the weights whose sign changed),
        seconds, processor_seconds (of all threads together). Mixed precision is off, whoever calls: bfloat16 does not hold the
        sums.
        """
        with torch.autocast(self.team.device.type, enabled=False):
            return self._run_epoch(on_step)

    def _run_epoch(self, on_step):
        start, processor_start = time.perf_counter(), time.process_time()
        while self.teacher and self.teacher.epoch < self.teacher.recipe.epochs:
            self.teacher.run_epoch()
        self._schedule(self.epoch)
        self.method.on_epoch(self)
        before = [layer.signs().detach().clone() for layer in self.model.binary_layers]
        generator = self.team.generator().manual_seed(self.recipe.seed * 1_000_003 + self.epoch)
        order = torch.randperm(len(self.labels), generator=generator)
        loss_sum, right = 0.0, 0
        self.model.train()
        for step, chosen in enumerate(order.tensor_split(self.steps)):  # sizes differ by one at most: none is tiny
            images, labels = self.images[chosen], self.labels[chosen]
            if self.recipe.shift:
                images = _shifted(images, self.recipe.shift, generator)
            if getattr(self.recipe, "slide", 0):
                images = _slid(images, self.recipe.slide, generator)
            if getattr(self.recipe, "turn", 0):
                images = _turned(images, self.recipe.turn, generator)
            if getattr(self.recipe, "flip", False):
                mirrored = torch.rand(len(images), generator=generator) < 0.5
                images = torch.where(mirrored[:, None, None, None], images.flip(2), images)
            self._set_rates(self.epoch * self.steps + step)
            share = self.team.share(len(chosen), generator)
            images, labels = images[share].to(self.team.device), labels[share].to(self.team.device)
            scores = self.acting(images, generator)
            loss = self._loss(images, labels, scores)
            self.optimizer.zero_grad()
            (loss * (len(labels) * self.team.size / len(chosen))).backward()    # so that the processes' mean is the batch's
            self.method.step(self.optimizer, self.model.binary_layers)
            self.model.after_step()
            loss_sum += loss.item() * len(labels)
            right += int((scores.argmax(1) == labels).sum())
            on_step()
        loss_sum, right = self.team.total(loss_sum, right)
        flipped = sum(int((a != layer.signs()).sum()) for a, layer in zip(before, self.model.binary_layers, strict=True))
        self.epoch += 1
        return {"epoch": self.epoch, "loss": loss_sum / len(self.labels), "train_accuracy": right / len(self.labels),
                "flip_ratio": flipped / sum(a.numel() for a in before), "seconds": time.perf_counter() - start,
                "processor_seconds": time.process_time() - processor_start}

    def state(self):
        """(tensors by name, plain JSON values): what :meth:`restore` takes."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        for index, entry in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{key}": value for key, value in entry.items()}
        if self.teacher:
            tensors |= {f"teacher.{name}": value for name, value in self.teacher.model.state_dict().items()}
        tensors = {name: value.cpu() for name, value in tensors.items()}
        return tensors, {"epoch": self.epoch, "recipe": self.recipe.model_dump()}

    def restore(self, tensors, epoch):
        """Go on from :meth:`state`."""
        self.model.load_state_dict({name[6:]: value for name, value in tensors.items() if name.startswith("model.")})
        state = {}
        for name, value in tensors.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict({"state": state, "param_groups": self.optimizer.state_dict()["param_groups"]})
        if self.teacher and epoch:
            self.teacher.model.load_state_dict({name.removeprefix("teacher."): value for name, value in tensors.items()
                                                if name.startswith("teacher.")})
            self.teacher.epoch = self.teacher.recipe.epochs
        self.epoch = epoch
        self._schedule(max(epoch - 1, 0))       # as the last epoch left them


def float_twin(recipe, split, epochs, team=None):
    """A :class:`Trainer` of the same layers with float weights and ReLU, on the same images, for ``epochs`` epochs."""
    chosen = recipe.model_copy(update={"methods": [FloatTwin()], "epochs": epochs, "learning_rate": TWIN_RATE,
                                       "loss": "cross-entropy"})
    return Trainer(models.build(chosen, split), chosen, split, team)
