"""What a network to train is made of, in numbers, before it is trained: ``bnnhw train --dry-run``."""

from rich.table import Table

from .layers import BatchNorm

__all__ = ["summary", "table"]


def _bits(layer):
    return layer.signs().numel()


def table(model):
    """A rich table: each binary layer with its shape, its weights of one bit (of lookup tables, their entries) and the parameters
    that training keeps for it."""
    found = Table("layer", "shape", "bits", "trained floats", box=None, pad_edge=False)
    names = {id(module): name for name, module in model.named_modules()}
    for layer in model.binary_layers:
        found.add_row(names[id(layer)], "x".join(map(str, layer.signs().shape)), f"{_bits(layer):,}",
                      f"{sum(p.numel() for p in layer.parameters()):,}")
    return found


def summary(model):
    """One line: bits of all layers, floats that training keeps, channels with a batch norm (in hardware a threshold each)."""
    bits = sum(map(_bits, model.binary_layers))
    floats = sum(p.numel() for p in model.parameters())
    channels = sum(module.gamma.numel() for module in model.modules() if isinstance(module, BatchNorm))
    return f"{bits:,} weights of one bit ({bits / 8192:,.1f} KiB), {floats:,} trained parameters, {channels:,} batch norms"
