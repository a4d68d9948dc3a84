"""What a command line names by BUILD_DIR or MODEL: a built accelerator, or a network folded on the spot."""

import hashlib
import json
from pathlib import Path

from . import accelerator, folding, models, planfile, report
from .errors import UserError
from .lower import lower

__all__ = ["DEFAULT_CLOCK_HZ", "TargetError", "resolve"]

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
        plan = folding.fold(found.network, lower(found.network, scores=True), clock_hz=DEFAULT_CLOCK_HZ)
        return found, plan, accelerator.verilog(plan)
    try:
        facts = json.loads((folder / "report.json").read_text())
        name, layers, sha256 = facts["model"]["name"], facts["layers"], facts["verilog_sha256"]
        verilog, text = (folder / f"{name}.v").read_text(), (folder / "plan.toml").read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        raise TargetError(f"{folder}: it is not a folder that `bnnhw build` wrote: report.json is missing or damaged") from None
    found = models.load(model or name)
    plan = planfile.loads(text, found.network, lower, where=str(folder / "plan.toml"))
    if hashlib.sha256(verilog.encode()).hexdigest() != sha256 or report.layers(plan) != layers:
        raise TargetError(f"{folder}: Verilog, plan.toml and report.json are not of one build: build it again, with "
                          f"--plan {folder / 'plan.toml'} if you have edited that")
    return found, plan, verilog
