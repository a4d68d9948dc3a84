"""The buffers of an accelerator, and where in the Verilog each one counts its free places."""

from dataclasses import dataclass

from .stages import BufferOptions
from .stages.windowed import WindowStage

__all__ = ["Ring", "rings"]


@dataclass(frozen=True)
class Ring:
    """A ring buffer of words.

    Attributes
    ----------
    name : str
        Of the stage whose input it holds, or of the branch of a fork.
    kind : str
        ``window`` (rows of a map), ``vector`` (of a folded dense layer) or ``branch`` (of a fork).
    module : str
        Instance in which it is, from ``bnnhw_top.core`` on.
    register : str
        Of that instance: how many more words may be written, ``depth`` when it is empty. A word counts from the cycle after
        the one in which it was taken until its place may be written again.
    depth : int
        Words that it holds at most.
    bits : int
        Width of a word.
    """
    name: str
    kind: str
    module: str
    register: str
    depth: int
    bits: int


def rings(plan):
    """A :class:`Ring` for every buffer of ``plan``, in order; register slices, of two words each, are none."""
    found = []
    for element in plan.elements:
        stage = element.stage
        if len(element.streams) > 1:
            source = element.sources[0]
            bits = plan.lanes_out(source) * next(stage.bits_out for stage in plan.stages if stage.name == source)
            found += [Ring(stream, "branch", f"{element.name}.buffer{k}.ring", "free", plan.fifos[stream], bits)
                      for k, stream in enumerate(element.streams) if plan.fifos[stream]]
        elif stage and isinstance(options := plan.options[stage.name], BufferOptions):
            bits = getattr(options, "simd", stage.lanes(options)[0]) * stage.bits(0)
            if isinstance(stage, WindowStage):
                found.append(Ring(stage.name, "window", f"{stage.name}.window", "room", stage.depth(options), bits))
            elif stage.groupings(options)[0].words > 1:         # else each word is used once, and none is kept
                found.append(Ring(stage.name, "vector", f"{stage.name}.buffer", "free", stage.depth(options), bits))
    return found
