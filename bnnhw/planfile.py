"""plan.toml: a plan as a file that people read and edit."""

import dataclasses
import tomllib

import tomlkit
from pydantic import ValidationError

from .buffers import KINDS, with_buffers
from .plan import Plan, PlanError
from .stages import FoldingError

__all__ = ["FORMAT", "dumps", "loads"]

FORMAT = 1
TOP = {"format", "network", "clock_hz", "result", "buffers", "layers"}
FIFOS = "fifos"     # the one key that need not be there


def dumps(plan):
    """The text of ``plan``'s file."""
    file = tomlkit.document()
    file.add(tomlkit.comment("How parallel each layer is. Edit it and give it to `bnnhw build --plan FILE`."))
    file["format"] = FORMAT
    file["network"] = plan.network.digest
    file["clock_hz"] = plan.clock_hz
    file["result"] = plan.result
    file["buffers"] = plan.buffers
    file["buffers"].comment("the least that cost no cycle (rate) or that work (live), wherever no depth is given")
    layers = tomlkit.table(is_super_table=True)
    for stage in plan.stages:
        options = plan.options[stage.name]
        table = tomlkit.table()
        table.update(options.model_dump())
        table.comment(f"{stage.cycles(options)} cycles per image")
        layers[stage.name] = table
    file["layers"] = layers
    if plan.fifos:
        depths = tomlkit.table()
        depths.update(plan.fifos)
        depths.comment("words in the buffers of branches; without this table they are computed")
        file[FIFOS] = depths
    return tomlkit.dumps(file)


def loads(text, network, lower, *, where="plan"):
    """A plan from the text of its file.

    Parameters
    ----------
    text : str or bytes
    network : Network
    lower : callable (network, scores=bool) -> list of Stage
    where : str
        What messages call the file.

    Raises
    ------
    PlanError
        Not TOML, a key missing or unknown, another network, a newer format.
    FoldingError
        A layer's options are impossible.
    """
    try:
        table = tomllib.loads(text if isinstance(text, str) else text.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise PlanError(f"{where}: not TOML: {error}") from None
    if unknown := set(table) - TOP - {FIFOS}:
        raise PlanError(f"{where}: unknown key {sorted(unknown)[0]!r}; known are {sorted(TOP | {FIFOS})}")
    if missing := TOP - set(table):
        raise PlanError(f"{where}: key {sorted(missing)[0]!r} is missing")
    if type(table["format"]) is not int or table["format"] > FORMAT:
        raise PlanError(f"{where}: format {table['format']!r}, but this version of bnnhw reads up to {FORMAT}")
    if table["network"] != network.digest:
        raise PlanError(f"{where}: it is the plan of another network ({str(table['network'])[:12]}..., "
                        f"not {network.digest[:12]}...)")
    if table["result"] not in ("class", "scores"):
        raise PlanError(f"{where}: result must be one of ['class', 'scores'], not {table['result']!r}")
    if table["buffers"] not in KINDS:
        raise PlanError(f"{where}: buffers must be one of {list(KINDS)}, not {table['buffers']!r}")
    if type(table["clock_hz"]) is not int or table["clock_hz"] < 1:
        raise PlanError(f"{where}: clock_hz must be a positive integer, not {table['clock_hz']!r}")
    stages = lower(network, scores=table["result"] == "scores")
    layers = table["layers"]
    if not isinstance(layers, dict):
        raise PlanError(f"{where}: layers must be tables [layers.NAME]")
    names = [stage.name for stage in stages]
    for name in layers:
        if name not in names:
            raise PlanError(f"{where}: there is no layer {name!r}; there are {names}")
    options = {}
    for stage in stages:
        if not isinstance(layers.get(stage.name), dict):
            raise PlanError(f"{where}: table [layers.{stage.name}] is missing")
        own = layers[stage.name]
        if own.get("kind") != stage.kind:
            raise FoldingError(f"layer {stage.name!r}: kind must be one of {[stage.kind]}, not {own.get('kind')!r}")
        try:
            options[stage.name] = stage.parse(own)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"])) or "table"
            raise FoldingError(f"layer {stage.name!r}: {key}: {first['msg'].lower()}") from None
    plan = Plan(network, stages, options, table["clock_hz"], buffers=table["buffers"])
    depths = _depths(table.get(FIFOS, {}), plan, where)
    if set(depths) != set(plan.branches) or any(getattr(own, "depth", 0) is None for own in options.values()):
        plan = with_buffers(plan, table["buffers"])
    return dataclasses.replace(plan, fifos=plan.fifos | depths)


def _depths(table, plan, where):
    """The depths that a file gives for buffers of branches."""
    if not isinstance(table, dict):
        raise PlanError(f"{where}: {FIFOS} must be a table [{FIFOS}]")
    for stream, depth in table.items():
        if stream not in plan.branches:
            raise PlanError(f"{where}: there is no branch {stream!r}; there are {list(plan.branches)}")
        if type(depth) is not int or depth < 0:
            raise PlanError(f"{where}: the depth of {stream!r} must be an integer from 0 up, not {depth!r}")
    return table
