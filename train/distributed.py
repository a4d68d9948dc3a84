"""Several processes that train one network, each on its share of every batch; and the device that they compute on.

Every process draws the same order of images, the same shifts and the same noise, and takes its share of them; sums of batch
norm and gradients go over all processes. So what is trained is what one process would train, but for the rounding of floats.
"""

import functools
import os
import warnings

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from ..errors import UsageError
from .layers import BatchNorm

__all__ = ["Alone", "Team", "joined", "lost"]


CPU = torch.device("cpu")


class Alone:
    """One process.

    Parameters
    ----------
    device : torch.device
        Where batches are computed. Images stay on the processor until then.
    """
    rank, size = 0, 1

    def __init__(self, device=CPU):
        self.device = device

    def __str__(self):
        return self.device.type

    def wrapped(self, model):
        """What is called in training in the place of ``model``, which moves to the device."""
        return model.to(self.device)

    def share(self, count, generator):
        """Which of a batch's ``count`` rows are this process's, a slice; ``generator``, of :meth:`generator`, is told."""
        return slice(0, count)

    def generator(self):
        """A generator of random numbers that :func:`~bnnhw.train.estimators.uniform` may be asked with."""
        return torch.Generator()

    def total(self, *values):
        """Sums of ``values`` over all processes."""
        return values

    def meet(self):
        """Wait until all processes are here."""

    def leave(self):
        """Part from the others."""


class Draws(torch.Generator):
    """A generator for rows that are a share of a batch; ``rows`` is (rows of the whole batch, slice of the share)."""
    rows = None


class _SumOverAll(torch.autograd.Function):
    """The sum over all processes; its gradient is the sum of theirs."""
    @staticmethod
    def forward(ctx, x):
        found = x.clone()
        distributed.all_reduce(found)
        return found

    @staticmethod
    def backward(ctx, gradient):
        found = gradient.contiguous().clone()
        distributed.all_reduce(found)
        return found


def moments(s):
    """Mean and variance (C,) of sums (N, C) or (N, C, H, W) of all processes together, and how many of each channel there are.

    Totals are of float64, so that the variance may come from the squares.
    """
    rows = s.double().transpose(0, 1).flatten(1)
    own = torch.stack((rows.sum(1), rows.square().sum(1), torch.full_like(rows[:, 0], rows.shape[1])))
    total, square, count = _SumOverAll.apply(own)
    mean = total / count
    return mean.to(s.dtype), (square / count - mean.square()).clamp(min=0).to(s.dtype), float(count[0].detach())


class Team(Alone):
    """One of several processes that ``torchrun`` has started."""
    def __init__(self, device):
        super().__init__(device)
        store, self.rank, self.size = next(distributed.rendezvous("env://"))
        # After a restart torchrun's store still has the addresses of the processes before.
        store = distributed.PrefixStore(f"attempt {os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", store)
        distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", store=store, rank=self.rank,
                                       world_size=self.size)

    def __str__(self):
        return f"{self.size} processes ({self.device.type})"

    def wrapped(self, model):
        for module in model.modules():
            if isinstance(module, BatchNorm):
                module.moments = moments
        warnings.filterwarnings("ignore", message="Grad strides do not match")      # of kernels with one input: it costs nothing
        return DistributedDataParallel(model.to(self.device))

    def share(self, count, generator):
        found = slice(count * self.rank // self.size, count * (self.rank + 1) // self.size)
        generator.rows = count, found
        return found

    def generator(self):
        return Draws()

    def total(self, *values):
        found = torch.tensor(values, dtype=torch.float64, device=self.device)
        distributed.all_reduce(found)
        return tuple(found.tolist())

    def meet(self):
        distributed.barrier()

    def leave(self):
        distributed.destroy_process_group()


def lost(error):
    """Whether a RuntimeError says that another process is gone."""
    return isinstance(error, (distributed.DistBackendError, distributed.DistNetworkError)) or "gloo" in str(error).lower()


@functools.cache
def _accelerator():
    return torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None


def joined(choice, recipe):
    """The :class:`Alone` or :class:`Team` that the environment and the command line ask for.

    Parameters
    ----------
    choice : ``"cpu"``, ``"gpu"`` or None
        None is a GPU where there is one and the recipe can use it.
    recipe : Recipe

    Raises
    ------
    UsageError
        There is no GPU, or the recipe's network trains on one processor only.
    """
    processes, sparse = int(os.environ.get("WORLD_SIZE", 1)), not hasattr(recipe, "estimator")
    if sparse and (processes > 1 or choice == "gpu"):
        raise UsageError(f"recipe {recipe.name!r}: wiring is learned in one process, on the processor")
    if processes > recipe.batch:
        raise UsageError(f"a batch of {recipe.batch} cannot be shared by {processes} processes")
    device = CPU
    if choice != "cpu" and not sparse and _accelerator():
        device = torch.device(_accelerator().type, int(os.environ.get("LOCAL_RANK", 0)))
        torch.accelerator.set_device_index(device.index)
    elif choice == "gpu":
        raise UsageError("--device gpu: there is none that PyTorch can use")
    return Team(device) if processes > 1 else Alone(device)
