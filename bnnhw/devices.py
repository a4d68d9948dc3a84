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
        What selects it at nextpnr.
    grade : str
        What selects its delays at yosys; empty where the family has but one set.
    packages : tuple of str
        The first is the default.
    luts, ffs, brams : int
        Logic cells, flip-flops, block RAMs.
    bram_shapes : tuple of (int, int)
        Widths and depths that one block RAM can take and the bitstream can initialise.
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

    def block_rams(self, width, depth):
        """Block RAMs that are enough for a memory of ``depth`` words of ``width`` bits, all in one shape.

        Synthesis mixes shapes, so that it sometimes takes fewer; never fewer than :meth:`least_block_rams`.
        """
        return min(-(-width // bits) * -(-depth // words) for bits, words in self.bram_shapes)

    def least_block_rams(self, width, depth):
        """Block RAMs whose bits are as many as those of a memory of ``depth`` words of ``width`` bits."""
        return -(-width * depth // max(bits * words for bits, words in self.bram_shapes))


ICE40_BRAM = ((16, 256), (8, 512), (4, 1024), (2, 2048))
ECP5_BRAM = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))

# Sources: Lattice FPGA-DS-02008 (iCE40 UltraPlus), FPGA-DS-02029 (iCE40 LP/HX; the tools open 7,680 cells of the HX4K's
# die), FPGA-DS-02012 (ECP5; the 12F is the 25F's die under another IDCODE, and the tools open all of it).
DEVICES = {device.name: device for device in (
    Device("up5k", "ice40", "--up5k", "u", ("sg48", "uwg30"), 5280, 5280, 30, ICE40_BRAM),
    Device("hx1k", "ice40", "--hx1k", "hx", ("tq144", "vq100"), 1280, 1280, 16, ICE40_BRAM),
    Device("hx8k", "ice40", "--hx8k", "hx", ("ct256", "cb132"), 7680, 7680, 32, ICE40_BRAM),
    Device("ecp5-12f", "ecp5", "--12k", "", ("CABGA381", "CABGA256"), 24288, 24288, 56, ECP5_BRAM),
    Device("ecp5-25f", "ecp5", "--25k", "", ("CABGA381", "CABGA256"), 24288, 24288, 56, ECP5_BRAM),
    Device("ecp5-45f", "ecp5", "--45k", "", ("CABGA381", "CABGA256"), 43848, 43848, 108, ECP5_BRAM),
    Device("ecp5-85f", "ecp5", "--85k", "", ("CABGA381", "CABGA756"), 83640, 83640, 208, ECP5_BRAM),
)}


def find(name):
    """The device ``name``. Raises :exc:`DeviceError`, which lists the known ones."""
    if name not in DEVICES:
        raise DeviceError(f"unknown device {name!r}; known are {', '.join(DEVICES)}")
    return DEVICES[name]
