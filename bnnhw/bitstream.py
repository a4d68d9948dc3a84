"""From the accelerator's Verilog to a board's bitstream, every figure read back from the tools."""

import re
from collections import Counter
from pathlib import Path

from . import devices, implement, netlist
from .accelerator import TOP, verilog
from .anchors import anchor
from .baked.writer import TABLE
from .boards.base import TOP as BOARD_TOP
from .families import FAMILIES
from .gateware.link import identity_of
from .plan import PlanError
from .spacing import hold
from .stages.dense import UnfoldedOptions
from .stages.lookup import LookupOptions
from .updating.base import Base
from .verify import images_for, summary

__all__ = ["ClockMissed", "check_link", "identity", "make_bitstream", "update"]

SEEDS = 3       # placements that are tried until the clock is met
FEW_CELLS, FEW_OF = 8, 0.1      # of a circuit's cells that synthesis may find out to be constants, or that nothing reads


class ClockMissed(implement.ImplementError):
    """A routed design that is slower than its clock.

    Attributes
    ----------
    fmax_hz : float
        What the best placement reaches.
    """
    def __init__(self, clock_hz, fmax_hz):
        super().__init__(f"the clock is missed: {clock_hz / 1e6:g} MHz are needed, {SEEDS} placements reach at most "
                         f"{fmax_hz / 1e6:.2f} MHz: ask for less with --clock, or for what it can be with --clock auto")
        self.fmax_hz = fmax_hz


def check_link(network):
    """Raise :exc:`PlanError` where a board's link cannot say all that the accelerator must be told."""
    if network.task:
        raise PlanError(f"the network has {network.tasks} tasks: a board's link cannot choose one yet; without --board its "
                        "Verilog takes the task at the port s_axis_tuser")


def identity(plan):
    """What a board with ``plan``'s accelerator says of itself (:class:`bnnhw.protocol.Identity`).

    Raises :exc:`PlanError`, as :func:`check_link` does.
    """
    check_link(plan.network)
    return identity_of(bytes.fromhex(plan.network.digest), clock_hz=plan.clock_hz,
                       frame_bytes=plan.frame_elements * plan.element_bytes, lanes=plan.input_lanes * plan.element_bytes,
                       result_beats=plan.result_beats, bytes_per_beat=plan.bytes_per_beat,
                       scores=plan.result_beats - 1 if plan.scores else 0,
                       greatest=plan.network.types[plan.network.inputs[0]].levels - 1)


def _in_blocks(plan):
    """Whether there are layers of constants in several blocks, which are routed for wires alone."""
    return any(isinstance(options, UnfoldedOptions) and options.blocks > 1 for options in plan.options.values())


def _check_memories(plan, device, cells):
    """Refuse a netlist in which a weight memory that was meant for block RAM landed in logic.

    The block RAMs that synthesis makes of a stage's memory ``rom`` (other memories, as of FIFOs, have other names) are called
    ``core.STAGE. ... .rom.0.0`` and so on. yosys makes none of columns that are constant, so that as many are asked for as the
    bits need, and not an exact number. It maps a memory as a whole, though: of an updatable layer, whose words are random, each
    memory has some.
    """
    memory = FAMILIES[device.family].memory
    blocks = re.findall(rf"^ *{memory} #\((?:\n.*,)*\n.*\n *\) \\core\.((\w+)\.(?:\w+\.)*rom)\.\d+\.\d+ +\(", cells, re.M)
    owners, memories = Counter(stage for _, stage in blocks), Counter(stage for _, stage in set(blocks))
    for stage in plan.stages:
        options = plan.options[stage.name]
        sizes = stage.resources(options)["bram_words"]
        if getattr(options, "memory", "") == "updatable" and 0 < memories[stage.name] < len(sizes):
            raise implement.ImplementError(f"layer {stage.name!r}: {len(sizes)} memories were meant for block RAM, but synthesis "
                                           f"put {len(sizes) - memories[stage.name]} of them into logic")
        found, wanted = owners[stage.name], sum(device.least_block_rams(*size) for size in sizes)
        if found < wanted:
            raise implement.ImplementError(f"layer {stage.name!r}: its weights need {wanted} block RAMs or more, but synthesis "
                                           f"made {found}: they landed in logic")


def _check_circuits(source, cells, whole):
    """Refuse a netlist in which synthesis took circuits apart that were emitted as cells.

    The cells ``u1, u2, ...`` of a module that stands in ``source`` as cells are called ``core. ... .INSTANCE.u1`` in the netlist.
    Of a layer in ``whole`` (names) each table must be there; else synthesis may find some cells out to be constants, or that
    nothing reads a neuron.
    """
    emitted = dict(re.findall(r"^module (\w+) \((.*?)^endmodule", source, re.M | re.S))
    kept = set(re.findall(r"\\(core\.\S+\.u\d+) +\(", cells))
    for top, body in re.findall(rf"^module \\{TOP}\.(core\.\S+) ?\((.*?)^endmodule", source, re.M | re.S):
        layer = top.split(".")[1]
        for name, instance in re.findall(r"^  (\w+) (\w+) \(", body, re.M):
            found = re.findall(rf"^  \w+ .*\b(u\d+) \(.*\);({TABLE})?$", emitted.get(name, ""), re.M)
            wanted = {remark: {f"{top}.{instance}.{cell}" for cell, own in found if own == remark} for remark in (TABLE, "")}
            lost = {remark: len(names - kept) for remark, names in wanted.items()}
            if layer in whole and lost[TABLE]:
                raise implement.ImplementError(f"layer {layer!r}: {lost[TABLE]} of its {len(wanted[TABLE])} tables are not in "
                                               "the netlist: synthesis took them apart")
            if sum(lost.values()) > max(FEW_CELLS, FEW_OF * len(found)):
                raise implement.ImplementError(f"layer {layer!r}: its circuit was emitted as {len(found)} cells, of which "
                                               f"synthesis left {len(found) - sum(lost.values())}: it took them apart")


def make_bitstream(plan, source, folder, board, *, netlist_images=0, dataset=None, narrator):
    """Synthesize, place, route and pack for ``board``.

    Writes ``NAME_board.v``, ``NAME_netlist.v`` (the accelerator's cells as they are in the bitstream), the pins, the
    routed design and the bitstream (``NAME_board.pcf``, ``NAME.asc``, ``NAME.bin`` for iCE40) and the tools' logs beside
    ``source``; ``NAME_cells.v`` where the accelerator contains circuits as cells, from which it is then synthesized. An updatable
    plan is synthesized and routed with random words in its memories: those files are called ``NAME_base...``
    (:mod:`bnnhw.updating`), and the network's words are then put in their place.

    Parameters
    ----------
    plan : Plan
    source : Path
        The accelerator's Verilog, ``folder/NAME.v``.
    folder : Path
    board : Board
    netlist_images : int
        How many images go through the synthesized accelerator, with the vendor's cell models.
    dataset : str or Inputs, optional
        As of :func:`~bnnhw.verify.images_for`.
    narrator : Narrator

    Returns
    -------
    dict
        ``device`` (see :class:`~bnnhw.implement.Implementation`) and, with ``netlist_images``, ``netlist``.

    Raises
    ------
    ImplementError
        It does not fit, a weight memory is not in block RAM, a circuit was taken apart.
    ClockMissed
    MismatchError
        The netlist differs from the golden model.
    """
    device = devices.find(board.device)
    stem = str(source).removesuffix(".v")
    family = FAMILIES[device.family]
    board_source, pins, mapped, cells, routed, packed = (Path(f"{stem}{end}") for end in (
        "_board.v", f"_board{family.constraints}", ".json", "_netlist.v", family.routed, family.bitstream))
    narrator.say("writing the board's Verilog")
    wrapper = board.verilog(identity(plan))
    board_source.write_text(wrapper)
    pins.write_text(board.constraints(board))
    accelerator = verilog(plan, cells=True)
    if accelerator != source.read_text():
        source = Path(f"{stem}_cells.v")
        source.write_text(accelerator)
    base, sources, made = None, [source, board_source], (cells, routed)
    if plan.updatable:
        base = Base(folder, source.stem, device, family.routed)
        base.write_sources(accelerator, wrapper)
        sources, made = [base.verilog, base.board], (base.netlist, base.routed)
    narrator.say(f"synthesizing for {device.name}")
    counts = implement.synthesize(sources, BOARD_TOP, device, netlist=mapped, part=TOP, part_verilog=made[0],
                                  log=folder / "yosys.log")
    _check_memories(plan, device, made[0].read_text())
    _check_circuits(accelerator, made[0].read_text(), [name for name, own in plan.options.items()
                                                       if isinstance(own, LookupOptions)])
    anchor(mapped, device)
    held = hold(mapped, device)
    untimed = held > 0 and _in_blocks(plan)
    if base:
        base.fill_netlist(accelerator, cells)
    facts = {"netlist": _simulated(plan, cells, device, netlist_images, dataset, narrator)} if netlist_images else {}
    best = 0
    for seed in range(1, SEEDS + 1):
        narrator.say(f"placing and routing for {device.name}, seed {seed}")
        figures = implement.route(mapped, device, package=board.package, constraints=pins, clock_hz=plan.clock_hz,
                                  output=made[1], seed=seed, log=folder / "nextpnr.log", counts=counts, held=held,
                                  untimed=untimed)
        best = max(best, figures.fmax_hz)
        if best >= plan.clock_hz:
            break
    else:
        raise ClockMissed(plan.clock_hz, best)
    if base:
        base.fill_routed(accelerator, wrapper, routed)
        facts["base_sha256"] = base.digests()
    implement.pack(routed, device, packed)
    mapped.unlink()
    return facts | {"device": figures.as_dict()}


def update(plan, source, folder, board, *, base, netlist_images=0, dataset=None, narrator):
    """Make the bitstream of ``plan`` from one that is routed: nothing is synthesized, placed or routed.

    Writes what :func:`make_bitstream` does, but for the logs.

    Parameters
    ----------
    base : Base
        Of an updatable plan with the same options, of another network.
    plan, source, folder, board, netlist_images, dataset, narrator
        As of :func:`make_bitstream`.

    Returns
    -------
    dict
        ``base_sha256``; with ``netlist_images``, ``netlist``.

    Raises
    ------
    UpdateError
        The two networks differ in more than what is in block RAM; the message names the layers.
    PatchError, MismatchError
    """
    device, family, stem = base.device, board.family, source.stem
    narrator.say("writing the board's Verilog")
    accelerator, wrapper = verilog(plan, cells=True), board.verilog(identity(plan))
    base.check(accelerator, wrapper)
    Path(folder, f"{stem}_board.v").write_text(wrapper)
    Path(folder, f"{stem}_board{family.constraints}").write_text(board.constraints(board))
    own = Base(folder, stem, device, family.routed)
    base.copy(own)
    cells, routed = Path(folder, f"{stem}_netlist.v"), Path(folder, f"{stem}{family.routed}")
    own.fill_netlist(accelerator, cells)
    facts = {"netlist": _simulated(plan, cells, device, netlist_images, dataset, narrator)} if netlist_images else {}
    narrator.say("packing the bitstream")
    own.fill_routed(accelerator, wrapper, routed)
    implement.pack(routed, device, Path(folder, f"{stem}{family.bitstream}"))
    return facts | {"base_sha256": own.digests()}


def _simulated(plan, cells, device, count, dataset, narrator):
    """What report.json holds of ``count`` images in the netlist in the file ``cells``. Raises :exc:`MismatchError`."""
    narrator.say("simulating the netlist")
    x, labels = images_for(plan.network, count, dataset)
    result = netlist.run(plan, cells.read_text(), x, device, say=narrator.say, progress=narrator.progress)
    return summary(plan.network, x, labels, result, "netlist")
