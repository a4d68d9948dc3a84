"""A data set and recipes small enough to train in a test."""
import numpy as np

from bnnhw import datasets
from bnnhw.train import models, recipe
from bnnhw.train.loop import Trainer

SMALL = """
name = "small"
dataset = "mnist"
hidden = [12, 7]
pixel_level = 100
estimator = "hardtanh"
loss = "cross-entropy"
last_batch_norm = false
epochs = 4
batch = 30
learning_rate = 0.02
weight_spread = 0.1
score_scale = 1.0
dropout = 0.2
shift = 1
seed = 3
"""


def split(count, seed, shape=(5, 4, 2), classes=3):
    """Images of noise whose class is the brightest third of the rows' elements."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
    parts = np.array_split((images >= 100).reshape(count, -1), classes, axis=1)
    return datasets.Split(images, np.argmax([p.sum(axis=1) for p in parts], axis=0), tuple("abc"[:classes]))


def small_recipe(folder, **changes):
    """The small recipe as a file, keys changed; its path."""
    lines = [line for line in SMALL.strip().splitlines() if line.split(" = ")[0] not in changes]
    lines += [f"{key} = {value}" for key, value in changes.items() if value is not None]
    path = folder / "small.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


def trained(folder, epochs=3, **changes):
    """A trainer of the small recipe after some epochs."""
    chosen = recipe.load(small_recipe(folder, **changes))
    train = split(600, 1)
    trainer = Trainer(models.build(chosen, train), chosen, train)
    for _ in range(epochs):
        trainer.run_epoch()
    return trainer
