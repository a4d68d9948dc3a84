"""Sparse networks in parts that share nothing but their votes: what lies close in the network can lie close on the chip."""

import numpy as np
import torch

from .recipe import RecipeError
from .sparse import SparseNet, spread

__all__ = ["PartedNet", "runs"]

NARROWED = 1 / 4        # share of the training after which bits that few neurons take are left out


def runs(n, count, classes=1):
    """Each of ``n`` neurons' run, int64 (n,): neighbours of a class are dealt to ``count`` runs as evenly as can be."""
    each = n // classes
    return torch.arange(n) % each * count // each


class PartedNet(SparseNet):
    """A :class:`~bnnhw.train.sparse.SparseNet` in parts, each of which sees its own pixels.

    ``parts = [R, C]`` deals the pixels of R rows and C columns side by side to as many parts, so that each part has the whole
    image, only coarser. Behind the first layer a part falls into bundles, whose neurons take neurons of the same bundle only.
    Every part votes for every class. After a quarter of the training each part keeps the bits that its neurons take most often,
    ``inputs`` of all parts together.

    A wire from everywhere to everywhere is what a small FPGA has least of: a part needs a fraction of the chip's height and
    width for its own.

    Parameters
    ----------
    recipe : PartsRecipe
    images, classes, steps, generator
        As of :class:`~bnnhw.train.sparse.SparseNet`.

    Raises
    ------
    RecipeError
        The numbers of parts, bundles, inputs and neurons do not go together.
    """
    def __init__(self, recipe, images, classes, steps, *, generator):
        super().__init__(recipe, images, classes, steps, generator=generator)
        rows, columns = recipe.parts
        parts, _, width, channels = rows * columns, *images.shape[1:]
        for key, value in (("bundles", recipe.bundles), ("inputs", recipe.inputs)):
            if value % parts:
                raise RecipeError(f"key {key!r}: must be a multiple of the {parts} parts, not {value}")
        pixel = self.used // self.levels.shape[-1] // channels
        self.register_buffer("part", pixel // width % rows * columns + pixel % width % columns, persistent=False)
        self.keep, self.narrowing = recipe.inputs // parts, int(steps * NARROWED)
        least = min(recipe.inputs // parts, *(int((self.part == part).sum()) for part in range(parts)))
        if least < recipe.fan_in:
            raise RecipeError(f"key 'parts': a part of {least} bits cannot feed neurons of {recipe.fan_in} inputs")
        homes = [runs(n, recipe.bundles) for n in recipe.layers[:-1]] + [runs(recipe.layers[-1], recipe.bundles, classes)]
        smallest = min(int((home == bundle).sum()) for home in homes[:-1] or homes for bundle in range(recipe.bundles))
        if smallest < recipe.fan_in:
            raise RecipeError(f"key 'bundles': a bundle of {smallest} neurons cannot feed neurons of {recipe.fan_in} inputs")
        self.register_buffer("home", homes[0] // (recipe.bundles // parts), persistent=False)   # parts of the first layer
        self.layers[0].restrict(self.part == self.home[:, None])
        for layer, own, behind in zip(self.layers[1:], homes, homes[1:], strict=False):
            for bundle in range(recipe.bundles):
                neurons, sources = (torch.nonzero(home == bundle).flatten() for home in (behind, own))
                taken = spread(len(sources), len(neurons) * recipe.fan_in, generator)
                layer.wires[neurons] = sources[taken].view(len(neurons), -1)

    def most_taken(self):
        """Of each part the bits that its neurons take most often: bool (bits,)."""
        often = torch.from_numpy(np.bincount(self.layers[0].wires.flatten().numpy(), minlength=len(self.used)))
        kept = torch.zeros(len(self.used), dtype=torch.bool)
        for part in range(int(self.part.max()) + 1):
            bits = torch.nonzero(self.part == part).flatten()
            kept[bits[often[bits].argsort(descending=True, stable=True)[:self.keep]]] = True
        return kept

    def after_step(self):
        super().after_step()
        if int(self.step) == self.narrowing:
            self.layers[0].restrict(self.most_taken())
