"""How a report says numbers, kinds of stages, foldings and types."""

from ..gateware.window import outputs
from ..stages.lookup import LookupStage
from ..stages.windowed import WindowStage

__all__ = ["duration", "folding", "kind", "number", "percent", "shape_of", "tensor", "values"]

KINDS = {
    "input": "input", "threshold": "threshold", "thermometer": "thermometer", "affine": "scale and offset", "add": "sum",
    "dense": "dense layer", "conv": "convolution", "depthwise": "depthwise convolution", "maxpool": "max pool",
    "sumpool": "sum pool",
    "lookup": "lookup tables", "lookup-class": "lookup tables, class", "class": "class", "scores": "scores and class",
}
MEMORIES = {"bram": "weights in block RAM", "lut": "weights in LUTs"}
SPACE = "\N{NO-BREAK SPACE}"      # between number and unit
DIGITS = 4
SILENT = ("kind", "depth", "fabric", "blocks")     # options that do not say how parallel a stage is
UNITS = ((1, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))


def number(value):
    """With separators: whole numbers whole, others with up to two digits behind the point."""
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")


def percent(part, whole=1):
    """To one digit behind the point; to more where that would say 0 or 100 of what is neither."""
    share = 100 * part / whole
    digits = next(d for d in range(1, DIGITS + 1) if d == DIGITS or share in (0, 100) or 0 < round(share, d) < 100)
    return f"{share:.{digits}f}".rstrip("0").rstrip(".") + f"{SPACE}%"


def duration(seconds):
    """Three digits and a unit."""
    scale, unit = next((entry for entry in UNITS if seconds >= entry[0]), UNITS[-1])
    return f"{seconds / scale:.3g}{SPACE}{unit}"


def kind(stage):
    """What a stage is, in words; windows with their size."""
    size = f" {stage.kernel[0]}×{stage.kernel[1]}" if isinstance(stage, WindowStage) else ""
    return KINDS.get(stage.kind, stage.kind) + size


def folding(stage, options):
    """How parallel ``stage`` is with ``options``; "" where there is nothing to say."""
    parts = []
    if isinstance(stage, LookupStage):
        sizes = [len(tables) for _, tables in stage.layers]
        parts.append(f"{sum(sizes):,} tables, {len(sizes)} layer{'s' * (len(sizes) > 1)}")
    for key, value in options.model_dump(exclude=set(SILENT)).items():
        if key in ("pe", "simd"):
            parts.append(f"{key.upper()} {value}")
        elif key == "lanes":
            parts.append(f"{value:,} at a time")
        elif key == "memory":
            parts.append(MEMORIES.get(value, value))
        elif key == "style":
            parts += ["weights as gates"] if value == "unfolded" else []
        elif key == "registers":
            parts += [f"{value} registers in the tree"] if value else []
        elif key == "slices":
            parts += ["slices"] if value else []
        else:
            parts.append(f"{key} {value}")
    return " · ".join(parts)


def shape_of(shape):
    """"28 × 28 × 1", or for a scalar "1"."""
    return " × ".join(f"{size:,}" for size in shape) or "1"


def values(type):
    """The values of a TensorType's elements: "signs", "0 … 255", "-64 … 64"."""
    if type.is_bipolar:
        return "signs"
    return f"{type.lo:,} … {type.hi:,}".replace("-", "−")


def tensor(stage, types):
    """(shape, values) of what ``stage`` gives; values are None where a rewrite made it, so that the network has no such edge."""
    if stage.edge in types and types[stage.edge].size == stage.elements_out:
        return types[stage.edge].shape, values(types[stage.edge])
    if isinstance(stage, WindowStage):
        image = (outputs(*sizes) for sizes in zip(stage.image, stage.kernel, stage.stride, stage.padding[::2],
                                                  stage.padding[1::2], strict=True))
        return (*image, stage.channels_out), None
    return (stage.elements_out,), None
