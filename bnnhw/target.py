"""What a command line names by BUILD_DIR or MODEL: a built accelerator, or a network folded on the spot."""

import json
from pathlib import Path

from . import accelerator, folding, models, planfile
from .errors import UserError
from .lower import lower

__all__ = ["DEFAULT_CLOCK_HZ", "DEFAULT_FPS", "TargetError", "resolve"]

DEFAULT_FPS = 100_000           # of the core, where no plan says it
DEFAULT_CLOCK_HZ = 24_000_000


class TargetError(UserError, ValueError):
    """Something that is neither a build folder nor a model."""


def resolve(target, model=None):
    """The accelerator that ``target`` names.

    Parameters
    ----------
    target : str
        A folder that ``bnnhw build`` wrote, a .bnn file, or the name of a shipped network, which is then folded as a plain
        ``bnnhw build --scores`` would.
    model : str, optional
        The network of a build folder, where it is not a shipped one.

    Returns
    -------
    found : Artifact
    plan : Plan
    verilog : str

    Raises
    ------
    TargetError
        Not a build folder, or ``model`` given for something else.
    """
    folder = Path(target)
    if not folder.is_dir():
        if model:
            raise TargetError("--model belongs to a build folder")
        found = models.load(target)
        plan = folding.fold(found.network, lower(found.network, scores=True), clock_hz=DEFAULT_CLOCK_HZ, fps=DEFAULT_FPS)
        return found, plan, accelerator.verilog(plan)
    try:
        name = json.loads((folder / "report.json").read_text())["model"]["name"]
        verilog, text = (folder / f"{name}.v").read_text(), (folder / "plan.toml").read_text()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TargetError(f"{folder}: it is not a folder that `bnnhw build` wrote, or files are missing or damaged: "
                          f"{error}") from None
    found = models.load(model or name)
    return found, planfile.loads(text, found.network, lower, where=str(folder / "plan.toml")), verilog
