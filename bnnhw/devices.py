"""The FPGAs that bnnhw knows: what they hold, and how their tools are called."""

from dataclasses import dataclass

from .errors import UsageError

__all__ = ["DEVICES", "Device", "DeviceError", "find"]


class DeviceError(UsageError):
    """A device that bnnhw does not know."""


@dataclass(frozen=True)
class Device:
    """An FPGA in its package.

    Attributes
    ----------
    name : str
        As given to ``--device``.
    family : str
        A name in :data:`bnnhw.families.FAMILIES`.
    option : str
        What selects it at nextpnr and the packer; empty where there is neither.
    grade : str
        What selects its delays at yosys and in :mod:`bnnhw.estimate`; empty where the family has but one set.
    packages : tuple of str
        The first is the default. Of Gowin whole part numbers.
    luts, ffs, brams : int
        Logic cells, flip-flops, block RAMs.
    bram_shapes : tuple of (int, int)
        Widths and depths that one block RAM can take and the bitstream can initialise.
    pins : str
        Where the router wants every port at a pin: pins of the first package, for a design without a board.
    speed_grade : str
        What selects its delays at nextpnr, where that asks for it.
    """
    name: str
    family: str
    option: str
    grade: str
    packages: tuple
    luts: int
    ffs: int
    brams: int
    bram_shapes: tuple
    pins: str = ""
    speed_grade: str = ""

    def block_rams(self, width, depth):
        """Block RAMs that are enough for a memory of ``depth`` words of ``width`` bits, all in one shape.

        Synthesis mixes shapes, so that it sometimes takes fewer; never fewer than :meth:`least_block_rams`.
        """
        return min(-(-width // bits) * -(-depth // words) for bits, words in self.bram_shapes)

    def least_block_rams(self, width, depth):
        """Block RAMs whose bits are as many as those of a memory of ``depth`` words of ``width`` bits."""
        return -(-width * depth // max(bits * words for bits, words in self.bram_shapes))


ICE40_BRAM = ((16, 256), (8, 512), (4, 1024), (2, 2048))
BRAM_18K = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))        # of ECP5 and Gowin
XC7_BRAM = ((72, 512), (36, 1024), (18, 2048), (9, 4096), (4, 8192), (2, 16384), (1, 32768))
# Pins that configuration leaves alone, from the packages' tables in Apicula.
QN88_1N = (
    "10 11 13 14 15 16 17 18 19 20 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 47 48 49 50 51 53 54 57 63 68 69 "
    "70 71 72 73 74 75 76 77 79 80 81 82 83 84 85 86")
QN88_2A = (
    "10 11 13 15 16 17 18 19 20 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 48 49 51 52 53 54 57 63 69 70 71 72 "
    "73 74 75 76 77 79 80 81 82 83 84 85 86")
MG121 = (
    "A10 A11 B10 B11 C10 C11 D10 D11 E10 E11 F1 F2 F5 F6 F7 G1 G2 G4 G5 G7 G8 G10 G11 H1 H2 H4 H5 H7 H8 H10 H11 J1 J2 J4 J5 "
    "J7 J8 J10 J11 K1 K2 K4 K5 K6 K7 K8 K9 K10 K11 L1 L2 L3 L4 L5 L6 L7 L8 L9 L10 L11")

# Sources: Lattice FPGA-DS-02008 (iCE40 UltraPlus), FPGA-DS-02029 (iCE40 LP/HX; the tools open 7,680 cells of the HX4K's
# die), FPGA-DS-02012 (ECP5; the 12F is the 25F's die under another IDCODE, and the tools open all of it; parts of grade 6
# but where the name says 8; a 5G part is of grade 8, at a higher core voltage); Gowin DS117 (GW1NR), DS226 (GW2AR), DS1103
# (GW5A; the tools have no LUT RAM there); Xilinx DS180 (7 series).
DEVICES = {device.name: device for device in (
    Device("up5k", "ice40", "--up5k", "u", ("sg48", "uwg30"), 5280, 5280, 30, ICE40_BRAM),
    Device("hx1k", "ice40", "--hx1k", "hx", ("tq144", "vq100"), 1280, 1280, 16, ICE40_BRAM),
    Device("hx8k", "ice40", "--hx8k", "hx", ("ct256", "cb132"), 7680, 7680, 32, ICE40_BRAM),
    Device("ecp5-12f", "ecp5", "--12k", "6", ("CABGA381", "CABGA256"), 24288, 24288, 56, BRAM_18K, speed_grade="6"),
    Device("ecp5-25f", "ecp5", "--25k", "6", ("CABGA381", "CABGA256", "CSFBGA285"), 24288, 24288, 56, BRAM_18K,
           speed_grade="6"),
    Device("ecp5-25f-8", "ecp5", "--25k", "8", ("CABGA381", "CABGA256", "CSFBGA285"), 24288, 24288, 56, BRAM_18K,
           speed_grade="8"),
    Device("ecp5-45f", "ecp5", "--45k", "6", ("CABGA381", "CABGA256"), 43848, 43848, 108, BRAM_18K, speed_grade="6"),
    Device("ecp5-85f", "ecp5", "--85k", "6", ("CABGA381", "CABGA756"), 83640, 83640, 208, BRAM_18K, speed_grade="6"),
    Device("ecp5um5g-85f", "ecp5", "--um5g-85k", "5g", ("CABGA554", "CABGA381", "CABGA756"), 83640, 83640, 208, BRAM_18K,
           speed_grade="8"),
    Device("gw1nr-9", "gowin", "GW1N-9C", "gw1n", ("GW1NR-LV9QN88PC6/I5",), 8640, 6480, 26, BRAM_18K, QN88_1N),
    Device("gw2a-18", "gowin", "GW2A-18C", "gw2a", ("GW2AR-LV18QN88C8/I7",), 20736, 15552, 46, BRAM_18K, QN88_2A),
    Device("gw5a-25", "gowin", "GW5A-25A", "gw5a -nolutram", ("GW5A-LV25MG121NC1/I0",), 23040, 23040, 56, BRAM_18K, MG121),
    Device("xc7a35t", "xc7", "", "", (), 20800, 41600, 50, XC7_BRAM),
    Device("xc7a100t", "xc7", "", "", (), 63400, 126800, 135, XC7_BRAM),
)}


def find(name):
    """The device ``name``. Raises :exc:`DeviceError`, which lists the known ones."""
    if name not in DEVICES:
        raise DeviceError(f"unknown device {name!r}; known are {', '.join(DEVICES)}")
    return DEVICES[name]
