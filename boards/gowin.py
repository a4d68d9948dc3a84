"""Gowin: clock from an rPLL, constraints, boards."""

from dataclasses import dataclass

from amaranth import *

from .base import Board, BoardError
from .top import Top

__all__ = ["RANGES", "Pll", "Ranges", "board", "cst", "pll"]

DIVIDERS = range(1, 65)
OUTPUT_DIVIDERS = (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128)


@dataclass(frozen=True)
class Ranges:
    """What a device's rPLL can do, in Hz: phase comparator, its own oscillator, output; and what the cell calls the device."""
    compare_hz: tuple
    vco_hz: tuple
    output_hz: tuple
    name: str


# Gowin DS117 (GW1NR-9, C6/I5) and DS226 (GW2AR-18, C8/I7), PLL parameters; UG286 for the dividers.
RANGES = {
    "gw1nr-9": Ranges((3e6, 400e6), (400e6, 1200e6), (3.125e6, 600e6), "GW1NR-9C"),
    "gw2a-18": Ranges((3e6, 500e6), (500e6, 1250e6), (3.90625e6, 625e6), "GW2AR-18C"),
}


class Pll:
    """An rPLL setting, and ``hz`` that comes out: ``oscillator / input_div * feedback_div``.

    Attributes
    ----------
    input_div, feedback_div, output_div : int
        Dividers of the oscillator, of the output on its way to the phase comparator, and between the PLL's own oscillator and
        the output.
    compare_hz, vco_hz, hz : float
        Of the phase comparator, the PLL's own oscillator, the output.
    """
    def __init__(self, oscillator_hz, input_div, feedback_div, output_div, name):
        self.oscillator_hz, self.name = oscillator_hz, name
        self.input_div, self.feedback_div, self.output_div = input_div, feedback_div, output_div
        self.compare_hz = oscillator_hz / input_div
        self.hz = self.compare_hz * feedback_div
        self.vco_hz = self.hz * output_div

    def cell(self, m, pad):
        """Adds the PLL behind the oscillator's ``pad``; gives (clock, locked)."""
        clock, locked = Signal(name="pll_clock"), Signal(name="pll_locked")
        m.submodules.pll = Instance(
            "rPLL",
            p_FCLKIN=f"{self.oscillator_hz / 1e6:g}", p_DEVICE=self.name,
            p_IDIV_SEL=self.input_div - 1, p_FBDIV_SEL=self.feedback_div - 1, p_ODIV_SEL=self.output_div,
            p_CLKFB_SEL="internal", p_DYN_IDIV_SEL="false", p_DYN_FBDIV_SEL="false", p_DYN_ODIV_SEL="false",
            i_CLKIN=pad, i_CLKFB=Const(0, 1), i_RESET=Const(0, 1), i_RESET_P=Const(0, 1),
            i_FBDSEL=Const(0, 6), i_IDSEL=Const(0, 6), i_ODSEL=Const(0, 6),
            i_PSDA=Const(0, 4), i_DUTYDA=Const(0, 4), i_FDLY=Const(0, 4),
            o_CLKOUT=clock, o_LOCK=locked,
        )
        return clock, locked


def pll(oscillator_hz, wanted_hz, ranges):
    """The PLL setting that comes nearest to ``wanted_hz`` without exceeding it; of equal ones that which compares most often, and
    of these that whose own oscillator is slowest.

    Raises
    ------
    BoardError
        Nothing within 5 % is possible.
    """
    def within(hz, limits):
        return limits[0] <= hz <= limits[1]
    best, most_hz = None, min(wanted_hz, ranges.output_hz[1])
    for input_div in DIVIDERS:
        if not within(oscillator_hz / input_div, ranges.compare_hz):
            continue
        feedback_div = min(DIVIDERS[-1], int(most_hz * (1 + 1e-9) * input_div / oscillator_hz))
        for output_div in OUTPUT_DIVIDERS:
            setting = Pll(oscillator_hz, input_div, feedback_div, output_div, ranges.name)
            if feedback_div and within(setting.hz, ranges.output_hz) and within(setting.vco_hz, ranges.vco_hz) \
                    and (best is None or setting.hz > best.hz):
                best = setting
    if best is None or best.hz < 0.95 * wanted_hz:
        raise BoardError(f"a clock of {wanted_hz / 1e6:g} MHz cannot be made from {oscillator_hz / 1e6:g} MHz; the PLL gives "
                         f"{ranges.output_hz[0] / 1e6:g} to {ranges.output_hz[1] / 1e6:g} MHz"
                         + (f", next {best.hz / 1e6:g} MHz" if best else ""))
    return best


def cst(pins):
    """A constraint file from ``{port: (pin, {attribute: value})}``."""
    return "".join(f'IO_LOC "{port}" {pin};\nIO_PORT "{port}" '
                   + " ".join(f"{name}={value}" for name, value in attributes.items()) + ";\n"
                   for port, (pin, attributes) in pins.items())


def board(*, pins, device, **facts):
    """A :class:`~bnnhw.boards.base.Board` with a Gowin device that has an rPLL.

    Parameters
    ----------
    pins : dict port -> (pin, attributes)
        Ports as in :data:`bnnhw.boards.top.PORTS`.
    device : str
        One of :data:`RANGES`.
    facts
        Everything else that a board has.
    """
    def setting(board, hz):
        return pll(board.oscillator_hz, hz, RANGES[device])
    return Board(**facts, device=device,
                 top=lambda board, identity: Top(board, identity, setting(board, identity.clock_hz), pins),
                 constraints=lambda board: cst(pins), clock=lambda board, hz: setting(board, hz).hz)
