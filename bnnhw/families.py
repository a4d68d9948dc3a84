"""FPGA families: how their tools are called, what their files and cells are called."""

import re
from dataclasses import dataclass

__all__ = ["FAMILIES", "MANY_CELLS", "Family"]

MANY_CELLS = 10_000     # of yosys, flip-flops apart


@dataclass(frozen=True)
class Family:
    """What the devices of a family have in common.

    Attributes
    ----------
    synthesis : str
        yosys' command; ``{grade}`` stands for :attr:`bnnhw.devices.Device.grade`.
    router, packer : tuple of str
        Program and the arguments that it always gets.
    crowded : tuple of str
        nextpnr's arguments for a design of more than :data:`MANY_CELLS` cells.
    unconstrained : tuple of str
        nextpnr's arguments for a design without pins.
    constraints, routed, bitstream : str
        Endings of the files.
    constraints_option, routed_option : str
        nextpnr's names for them.
    logic_cell, block_ram : str
        nextpnr's packed cells that we count.
    memory, flipflops : str, re.Pattern
        yosys' cells.
    models : tuple of str
        Files with the behaviour of yosys' cells, in yosys' folder of cell libraries.
    own_models : tuple of str
        The same in ``bnnhw/cells``, for cells that yosys only names.
    """
    synthesis: str
    router: tuple
    packer: tuple
    crowded: tuple
    unconstrained: tuple
    constraints: str
    routed: str
    bitstream: str
    constraints_option: str
    routed_option: str
    logic_cell: str
    block_ram: str
    memory: str
    flipflops: re.Pattern
    models: tuple
    own_models: tuple


# Where there are many cells the default router ripped up two connections for each that it made, and was far from its end after 20
# minutes. router2 is for such designs; its wires are slower (a layer of 2,600 cells: 95 MHz in place of 122).
# -abc9 maps with delays in view; -nowidelut keeps ECP5's LUTs apart, which a popcount wants.
FAMILIES = {
    "ice40": Family(
        synthesis="synth_ice40 -abc9 -device {grade}",
        router=("nextpnr-ice40",), packer=("icepack",), crowded=(), unconstrained=(),
        constraints=".pcf", routed=".asc", bitstream=".bin", constraints_option="--pcf", routed_option="--asc",
        logic_cell="ICESTORM_LC", block_ram="ICESTORM_RAM", memory="SB_RAM40_4K", flipflops=re.compile("SB_DFF"),
        models=("ice40/cells_sim.v",), own_models=(),
    ),
    "ecp5": Family(
        synthesis="synth_ecp5 -abc9 -nowidelut",
        router=("nextpnr-ecp5", "--speed", "6"), packer=("ecppack", "--compress"),
        crowded=("--router", "router2", "--placer-heap-beta", "0.5"), unconstrained=("--lpf-allow-unconstrained",),
        constraints=".lpf", routed=".config", bitstream=".bit", constraints_option="--lpf", routed_option="--textcfg",
        logic_cell="TRELLIS_COMB", block_ram="DP16KD", memory="DP16KD", flipflops=re.compile("TRELLIS_FF"),
        models=("ecp5/common_sim.vh", "ecp5/ccu2c_sim.vh"), own_models=("ecp5.v",),
    ),
}
