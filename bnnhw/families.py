"""FPGA families: how their tools are called, what their files and cells are called."""

import re
from dataclasses import dataclass, field

__all__ = ["FAMILIES", "MANY_CELLS", "Family"]

MANY_CELLS = 10_000     # of yosys, flip-flops apart


@dataclass(frozen=True)
class Family:
    """What the devices of a family have in common.

    In arguments ``{device.option}`` stands for what :class:`bnnhw.devices.Device` has under that name, and so on; ``{package}``
    for one of its packages, and other words in braces for files.

    Attributes
    ----------
    synthesis : str
        yosys' command.
    memory, flipflops : str, re.Pattern
        yosys' cells, as regular expressions; ``memory`` has no groups.
    models : tuple of str
        Files with the behaviour of yosys' cells, in yosys' folder of cell libraries.
    own_models : tuple of str
        The same in ``bnnhw/cells``, for cells that yosys only names.
    pads : str
        What yosys does to the whole design at the end: cells at the pins, where nextpnr needs them.
    router : tuple of str
        Program and its arguments: ``{netlist}`` as JSON, ``{routed}`` for the result. Empty where bnnhw knows no router for
        the family: then there are but the figures of synthesis, and what follows is empty, too.
    pins : tuple of str
        The arguments that name the file of constraints, ``{constraints}``.
    packer : tuple of str
        Program and its arguments: from ``{routed}`` to ``{bitstream}``.
    crowded : tuple of str
        nextpnr's arguments for a design of more than :data:`MANY_CELLS` cells.
    held_rows : tuple of str
        The same of a design that is placed with rows held free (:mod:`bnnhw.spacing`).
    untimed : tuple of str
        nextpnr's arguments for wires alone, whatever delay they have.
    unconstrained : tuple of str
        nextpnr's arguments for a design without pins.
    constraints, routed, bitstream : str
        Endings of the files.
    logic_cells : dict of str -> int
        nextpnr's packed cells that take places of LUTs, and how many each takes.
    block_ram : str
        nextpnr's packed cell.
    """
    synthesis: str
    memory: str
    flipflops: re.Pattern
    models: tuple = ()
    own_models: tuple = ()
    pads: str = ""
    router: tuple = ()
    pins: tuple = ()
    packer: tuple = ()
    crowded: tuple = ()
    held_rows: tuple = ()
    untimed: tuple = ()
    unconstrained: tuple = ()
    constraints: str = ""
    routed: str = ""
    bitstream: str = ""
    logic_cells: dict = field(default_factory=dict)
    block_ram: str = ""


# Where there are many cells the default router ripped up two connections for each that it made, and was far from its end after 20
# minutes. router2 is for such designs; its wires are slower (a layer of 2,600 cells: 95 MHz in place of 122). What they lack is
# wires, not cells: where the device has room they are placed with rows held free. Layers of constants in blocks are routed for
# wires alone: with delays in view that does not come to its end.
# -abc9 maps with delays in view; -nowidelut keeps the LUTs of ECP5 and Gowin apart, which a popcount wants. docs/timing.md has
# what other settings do, `python benchmarks/settings.py` measures it.
# Gowin: products are made of LUTs and ALUs, since nothing here has checked what the open tools make of its multipliers. Cells
# stand at the pins of the top module only, added when the accelerator has lost its border. The SSPI pins are given to the
# design, without which gowin_pack refuses GW5A; configuration through JTAG and from flash stays.
FAMILIES = {
    "ice40": Family(
        synthesis="synth_ice40 -abc9 -device {device.grade}", memory="SB_RAM40_4K", flipflops=re.compile("SB_DFF"),
        models=("ice40/cells_sim.v",),
        router=("nextpnr-ice40", "{device.option}", "--package", "{package}", "--json", "{netlist}", "--asc", "{routed}"),
        pins=("--pcf", "{constraints}"), packer=("icepack", "{routed}", "{bitstream}"),
        constraints=".pcf", routed=".asc", bitstream=".bin", logic_cells={"ICESTORM_LC": 1}, block_ram="ICESTORM_RAM",
    ),
    "ecp5": Family(
        synthesis="synth_ecp5 -abc9 -nowidelut", memory="DP16KD", flipflops=re.compile("TRELLIS_FF"),
        models=("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh"), own_models=("ecp5.v",),
        router=("nextpnr-ecp5", "--speed", "{device.speed_grade}", "{device.option}", "--package", "{package}",
                "--json", "{netlist}", "--textcfg", "{routed}"),
        pins=("--lpf", "{constraints}"), packer=("ecppack", "--compress", "{routed}", "{bitstream}"),
        crowded=("--router", "router2", "--placer-heap-beta", "0.5"),
        held_rows=("--placer", "static", "--router", "router2"), untimed=("--no-tmdriv",),
        unconstrained=("--lpf-allow-unconstrained",),
        constraints=".lpf", routed=".config", bitstream=".bit", logic_cells={"TRELLIS_COMB": 1}, block_ram="DP16KD",
    ),
    "gowin": Family(
        synthesis="synth_gowin -family {device.grade} -nowidelut -nodsp -noiopads", memory="(?:SP|SPX9|SDPB|SDPX9B|DPB|DPX9B)",
        flipflops=re.compile("DFF"), models=("gowin/cells_sim.v",), own_models=("gowin.v",),
        pads="iopadmap -bits -inpad IBUF O:I -outpad OBUF I:O",
        router=("nextpnr-himbaechel-gowin", "--device", "{package}", "--vopt", "family={device.option}", "--vopt", "sspi_as_gpio",
                "--json", "{netlist}", "--write", "{routed}"),
        pins=("--vopt", "cst={constraints}"),
        packer=("gowin_pack", "--sspi_as_gpio", "-d", "{device.option}", "-o", "{bitstream}", "{routed}"),
        constraints=".cst", routed="_routed.json", bitstream=".fs", logic_cells={"LUT4": 1, "ALU": 1, "RAM16SDP4": 4},
        block_ram="BSRAM",
    ),
    "xc7": Family(synthesis="synth_xilinx -family xc7 -abc9", memory="(?:RAMB18E1|RAMB36E1)", flipflops=re.compile("FD[RSCP]E")),
}
