"""The float twin of a binarized convolutional network: what the same layers reach with float32 weights and activations."""

import json

import torch
from torch import nn

from bnnhw import datasets
from bnnhw.files import atomic_write
from bnnhw.train import recipe
from bnnhw.train.cnn import BinaryCnn
from bnnhw.train.loop import Trainer, accuracy, reestimate

__all__ = ["FloatCnn", "accuracy_percent"]

LEARNING_RATE = 0.001       # Adam's usual one; latent weights of signs want a greater one


class FloatCnn(BinaryCnn):
    """The recipe's layers with float32 weights, ReLU in place of sign, and zeros in padded places."""

    def forward(self, pixels, generator=None):
        x = pixels.permute(0, 3, 1, 2).float()
        for conv, norm, pool in zip(self.convs, self.norms, self.pools, strict=False):
            x = nn.functional.conv2d(x, conv.weight, padding=conv.padding)
            x = norm(nn.functional.max_pool2d(x, 2) if pool else x).relu()
        x = x.permute(0, 2, 3, 1).flatten(1)
        for linear, norm in zip(self.linears[:-1], self.norms[len(self.convs):], strict=True):
            x = norm(x @ linear.weight.T).relu()
        return x @ self.linears[-1].weight.T * self.score_scale

    def after_step(self):
        """Float weights go where they like."""


def accuracy_percent(name, folder, threads):
    """Train the float twin of recipe ``name``, as long and with the same images; its share of right test images, in percent.

    The figures of each epoch go to ``NAME.float.json`` in ``folder``; if it is there already, its last one is the answer.
    """
    log = folder / f"{name}.float.json"
    if not log.exists():
        torch.set_num_threads(threads)
        chosen = recipe.load(name)
        train, test = (datasets.load(chosen.dataset, split) for split in ("train", "test"))
        generator = torch.Generator().manual_seed(chosen.seed)
        model = FloatCnn(train.images.shape[1:], chosen, len(train.classes), generator=generator)
        trainer = Trainer(model, chosen.model_copy(update={"learning_rate": LEARNING_RATE}), train)
        rows = []
        for _ in range(chosen.epochs):
            rows.append({key: value for key, value in trainer.run_epoch().items() if key != "flip_ratio"})
            print(f"float twin of {name}: epoch {rows[-1]['epoch']}/{chosen.epochs}, loss {rows[-1]['loss']:.4f}, training "
                  f"{rows[-1]['train_accuracy']:.2%}, {rows[-1]['seconds']:.1f} s", flush=True)
        reestimate(model, trainer.images)
        rows[-1]["test_accuracy"] = accuracy(model, torch.from_numpy(test.images.copy()), torch.from_numpy(test.labels))
        atomic_write(log, json.dumps(rows))
    return round(100 * json.loads(log.read_text())[-1]["test_accuracy"], 2)
