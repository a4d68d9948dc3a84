"""Another network of the same shape in a bitstream that is there: ``bnnhw update``."""

import json
import time
from pathlib import Path

import tomlkit
from rich.console import Console
from tomlkit.exceptions import TOMLKitError

from . import artifact, bitstream, boards, build, devices, models, planfile, report
from .errors import UsageError, UserError
from .lower import lower
from .updating.base import Base, UpdateError

__all__ = ["add_arguments", "run", "update"]

# Of report.json, beside what says that it is updatable.
KEYS = ("board", "model", "device", "tools", "why", "rounds")


def add_arguments(parser):
    parser.add_argument("folder", metavar="DIR", help="a folder that `bnnhw build --updatable --board B --bitstream` wrote")
    parser.add_argument("model", metavar="MODEL",
                        help="a .bnn file or the name of a shipped network: another training of the same recipe")
    parser.add_argument("--verify", type=int, default=0, metavar="N",
                        help="simulate the Verilog on N images and compare all integers with the golden model")
    parser.add_argument("--verify-netlist", type=int, default=0, metavar="N",
                        help="simulate the updated netlist on N images, too")
    parser.add_argument("-o", "--output", metavar="DIR", help="folder to write (default: build/NAME-BOARD)")


def update(folder, path, output, *, images=0, netlist_images=0, narrator=None):
    """Write the build folder of another network from an updatable one, without synthesis, placing or routing.

    Parameters
    ----------
    folder : Path
        Of an updatable build with a bitstream.
    path : Path
        The network's .bnn file.
    output : Path or None
        The folder to write; None is ``build/NAME-BOARD``. It can be updated, too.
    images, netlist_images : int
        How many images to verify, in the Verilog and in the netlist with the new contents.

    Returns
    -------
    output : Path
    facts : dict
        What report.json holds: place and route are those of the old build.

    Raises
    ------
    UserError
        Nothing is written then.
    """
    old, plan_text = _read(folder)
    board = boards.find(old["board"]["name"])
    device, name = devices.find(board.device), path.stem
    found = artifact.load(path)
    base = Base(folder, old["model"]["name"], device, board.family.routed)
    try:
        intact = base.digests() == old["base_sha256"]
    except OSError as error:
        raise UpdateError(f"{folder}: {Path(error.filename).name} is missing: build it again") from None
    if not intact:
        raise UpdateError(f"{folder}: a file of {', '.join(file.name for file in base.files)} was altered: build it again")
    plan_text["network"] = found.network.digest
    try:
        plan = planfile.loads(tomlkit.dumps(plan_text), found.network, lower, where=f"{folder / 'plan.toml'}, for {name}")
    except UserError as error:
        raise UpdateError(f"{name} has not the shape of {old['model']['name']}: {error}") from None

    def make(plan, source, stage, board, **more):
        return bitstream.update(plan, source, stage, board, base=base, **more) | {"device": old["device"]}
    output = output or Path("build", f"{name}-{board.name}")
    facts = build.build(name, found, plan, output, board=board, images=images, netlist_images=netlist_images, bitstream=True,
                        make=make, tools=old["tools"], why=old["why"], rounds=old["rounds"], narrator=narrator)
    return output, facts


def _read(folder):
    """report.json and plan.toml of an updatable build."""
    try:
        facts = json.loads((folder / "report.json").read_text())
        plan = tomlkit.parse((folder / "plan.toml").read_text())
        updatable = facts.get("base_sha256")
        if updatable and not (set(KEYS) <= facts.keys() and facts["board"]["name"] and facts["model"]["name"]):
            raise ValueError("keys are missing")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, TOMLKitError):
        raise UpdateError(f"{folder}: it is not a folder that `bnnhw build` wrote: report.json or plan.toml is missing or "
                          "damaged") from None
    if not updatable:
        raise UpdateError(f"{folder}: its weights and thresholds are in logic: build it with --updatable --bitstream")
    return facts, plan


def run(args):
    for name in ("verify", "verify_netlist"):
        if getattr(args, name) < 0:
            raise UsageError(f"--{name.replace('_', '-')} must not be negative, not {getattr(args, name)}")
    start = time.perf_counter()
    with build.Narrator() as narrator:
        output, facts = update(Path(args.folder), models.path(args.model), args.output and Path(args.output), images=args.verify,
                               netlist_images=args.verify_netlist, narrator=narrator)
    console = Console()
    console.print(report.table(facts))
    if not args.verify_netlist:
        console.print("not verified: --verify-netlist N simulates the updated netlist on N images", highlight=False)
    console.print(f"written to {output} in {time.perf_counter() - start:.1f} s; `bnnhw flash {output}` loads it", highlight=False,
                  markup=False, soft_wrap=True)


if __name__ == "__main__":
    from .cli import main_of
    main_of("update")
