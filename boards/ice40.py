"""iCE40: clock from the PLL, constraints, boards."""

from amaranth import *

from .base import Board, BoardError
from .top import Top

__all__ = ["CorePll", "PadPll", "board", "pcf", "pll"]

# Lattice FPGA-TN-02052, iCE40 sysCLOCK PLL: ranges in Hz.
OUTPUT_HZ = (16e6, 275e6)
VCO_HZ = (533e6, 1066e6)
COMPARE_HZ = (10e6, 133e6)
# FILTER_RANGE by the phase comparator's frequency: the first row whose limit is above it.
FILTER_RANGES = ((17e6, 1), (26e6, 2), (44e6, 3), (66e6, 4), (101e6, 5), (133e6, 6))


class CorePll:
    """A PLL setting: ``divr``, ``divf``, ``divq``, ``filter_range`` as SB_PLL40 takes them, and ``hz`` that comes out.

    The oscillator may be at any pin but the PLL's own pad.
    """
    name, source = "SB_PLL40_CORE", "REFERENCECLK"

    def __init__(self, oscillator_hz, divr, divf, divq):
        self.divr, self.divf, self.divq = divr, divf, divq
        compare = oscillator_hz / (divr + 1)
        self.filter_range = next(setting for limit, setting in FILTER_RANGES if compare <= limit)
        self.hz = compare * (divf + 1) / 2**divq

    def cell(self, m, pad):
        """Adds the PLL behind the oscillator's ``pad``; gives (clock, locked)."""
        clock, locked = Signal(name="pll_clock"), Signal(name="pll_locked")
        m.submodules.pll = Instance(
            self.name,
            p_FEEDBACK_PATH="SIMPLE", p_PLLOUT_SELECT="GENCLK",
            p_DIVR=Const(self.divr, 4), p_DIVF=Const(self.divf, 7), p_DIVQ=Const(self.divq, 3),
            p_FILTER_RANGE=Const(self.filter_range, 3),
            i_RESETB=Const(1, 1), i_BYPASS=Const(0, 1),
            o_PLLOUTGLOBAL=clock, o_LOCK=locked,
            **{f"i_{self.source}": pad},
        )
        return clock, locked


class PadPll(CorePll):
    """The same for an oscillator at the PLL's own pad, which no other PLL may use."""
    name, source = "SB_PLL40_PAD", "PACKAGEPIN"


def pll(oscillator_hz, wanted_hz, kind=CorePll):
    """The PLL setting that comes nearest to ``wanted_hz`` without exceeding it (simple feedback), of class ``kind``.

    Raises
    ------
    BoardError
        Nothing within 5 % is possible.
    """
    best = None
    for divr in range(16):
        compare = oscillator_hz / (divr + 1)
        if not COMPARE_HZ[0] <= compare <= COMPARE_HZ[1]:
            continue
        for divf in range(128):
            if not VCO_HZ[0] <= compare * (divf + 1) <= VCO_HZ[1]:
                continue
            for divq in range(1, 7):
                setting = kind(oscillator_hz, divr, divf, divq)
                if OUTPUT_HZ[0] <= setting.hz <= OUTPUT_HZ[1] and setting.hz <= wanted_hz * (1 + 1e-9) \
                        and (best is None or setting.hz > best.hz):
                    best = setting
    if best is None or best.hz < 0.95 * wanted_hz:
        raise BoardError(f"a clock of {wanted_hz / 1e6:g} MHz cannot be made from {oscillator_hz / 1e6:g} MHz; the PLL gives "
                         f"{OUTPUT_HZ[0] / 1e6:g} to {OUTPUT_HZ[1] / 1e6:g} MHz"
                         + (f", next {best.hz / 1e6:g} MHz" if best else ""))
    return best


def pcf(pins):
    """A constraint file from ``{port: (pin, attributes)}``; of the attributes only ``PULLUP`` counts."""
    return "".join(f"set_io{' -pullup yes' if attributes.get('PULLUP') else ''} {port} {pin}\n"
                   for port, (pin, attributes) in pins.items())


def board(*, pins, kind=CorePll, **facts):
    """A :class:`~bnnhw.boards.base.Board` with an iCE40.

    Parameters
    ----------
    pins : dict port -> (pin, attributes)
        Ports as in :data:`bnnhw.boards.top.PORTS`.
    kind : type
        :class:`PadPll` where the oscillator is at the PLL's own pad.
    facts
        Everything else that a board has.
    """
    def setting(board, hz):
        return pll(board.oscillator_hz, hz, kind)
    return Board(**facts, top=lambda board, identity: Top(board, identity, setting(board, identity.clock_hz), pins),
                 constraints=lambda board: pcf(pins), clock=lambda board, hz: setting(board, hz).hz)
