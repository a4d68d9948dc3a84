"""ECP5: clock from a PLL, constraints, boards."""

from amaranth import *

from .base import Board, BoardError
from .top import Top

__all__ = ["Pll", "board", "lpf", "pll"]

# Lattice FPGA-DS-02012, sysCLOCK PLL timing: ranges in Hz. FPGA-TN-02200: the dividers go from 1 to 128.
OUTPUT_HZ = (3.125e6, 400e6)
VCO_HZ = (400e6, 800e6)
COMPARE_HZ = (10e6, 400e6)
DIVIDERS = range(1, 129)


class Pll:
    """A PLL setting, and ``hz`` that comes out.

    The feedback is output CLKOP, which runs at the phase comparator's frequency; the clock is output CLKOS, with a divider of
    its own: ``hz = oscillator / input_div * feedback_div / output_div``.

    Attributes
    ----------
    input_div, feedback_div, output_div : int
        Dividers of the oscillator (CLKI_DIV), of CLKOP and of CLKOS.
    compare_hz, vco_hz, hz : float
        Of the phase comparator, the PLL's own oscillator, the output.
    """
    def __init__(self, oscillator_hz, input_div, feedback_div, output_div):
        self.input_div, self.feedback_div, self.output_div = input_div, feedback_div, output_div
        self.compare_hz = oscillator_hz / input_div
        self.oscillator_hz = oscillator_hz
        self.vco_hz = self.compare_hz * feedback_div
        self.hz = self.vco_hz / output_div

    def cell(self, m, pad):
        """Adds the PLL behind the oscillator's ``pad``; gives (clock, locked)."""
        feedback, clock, locked = Signal(name="pll_feedback"), Signal(name="pll_clock"), Signal(name="pll_locked")
        # Phases: FPGA-TN-02200, an output's CPHASE is its divider less one where it is not shifted. The loop filter's
        # values are those of Project Trellis' calculator.
        m.submodules.pll = Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{self.oscillator_hz / 1e6:g}",
            a_ICP_CURRENT="12", a_LPF_RESISTOR="8", a_MFG_ENABLE_FILTEROPAMP="1", a_MFG_GMCREF_SEL="2",
            p_PLLRST_ENA="DISABLED", p_INTFB_WAKE="DISABLED", p_STDBY_ENABLE="DISABLED", p_DPHASE_SOURCE="DISABLED",
            p_OUTDIVIDER_MUXA="DIVA", p_OUTDIVIDER_MUXB="DIVB", p_OUTDIVIDER_MUXC="DIVC", p_OUTDIVIDER_MUXD="DIVD",
            p_FEEDBK_PATH="CLKOP", p_CLKI_DIV=self.input_div, p_CLKFB_DIV=1,
            p_CLKOP_ENABLE="ENABLED", p_CLKOP_DIV=self.feedback_div, p_CLKOP_CPHASE=self.feedback_div - 1, p_CLKOP_FPHASE=0,
            p_CLKOS_ENABLE="ENABLED", p_CLKOS_DIV=self.output_div, p_CLKOS_CPHASE=self.output_div - 1, p_CLKOS_FPHASE=0,
            i_CLKI=pad, i_CLKFB=feedback, i_RST=Const(0, 1), i_STDBY=Const(0, 1),
            i_PHASESEL0=Const(0, 1), i_PHASESEL1=Const(0, 1), i_PHASEDIR=Const(1, 1), i_PHASESTEP=Const(1, 1),
            i_PHASELOADREG=Const(1, 1), i_PLLWAKESYNC=Const(0, 1), i_ENCLKOP=Const(0, 1), i_ENCLKOS=Const(0, 1),
            o_CLKOP=feedback, o_CLKOS=clock, o_LOCK=locked,
        )
        return clock, locked


def pll(oscillator_hz, wanted_hz):
    """The PLL setting that comes nearest to ``wanted_hz`` without exceeding it; of equal ones that which compares most often.

    Raises
    ------
    BoardError
        Nothing within 5 % is possible.
    """
    best = None
    for input_div in DIVIDERS:
        if not COMPARE_HZ[0] <= oscillator_hz / input_div <= COMPARE_HZ[1]:
            continue
        for feedback_div in DIVIDERS:
            vco_hz = oscillator_hz / input_div * feedback_div
            if not VCO_HZ[0] <= vco_hz <= VCO_HZ[1]:
                continue
            output_div = max(1, -int(-vco_hz // (wanted_hz * (1 + 1e-9))))
            setting = Pll(oscillator_hz, input_div, feedback_div, output_div)
            if output_div in DIVIDERS and OUTPUT_HZ[0] <= setting.hz <= OUTPUT_HZ[1] and (best is None or setting.hz > best.hz):
                best = setting
    if best is None or best.hz < 0.95 * wanted_hz:
        raise BoardError(f"a clock of {wanted_hz / 1e6:g} MHz cannot be made from {oscillator_hz / 1e6:g} MHz; the PLL gives "
                         f"{OUTPUT_HZ[0] / 1e6:g} to {OUTPUT_HZ[1] / 1e6:g} MHz"
                         + (f", next {best.hz / 1e6:g} MHz" if best else ""))
    return best


def lpf(pins, clock, hz):
    """A constraint file.

    Parameters
    ----------
    pins : dict port -> (pin, {attribute: value})
    clock : str
        The port that has a clock of ``hz``.
    """
    lines = []
    for port, (pin, attributes) in pins.items():
        lines += [f'LOCATE COMP "{port}" SITE "{pin}";',
                  f'IOBUF PORT "{port}" ' + " ".join(f"{name}={value}" for name, value in attributes.items()) + ";"]
    return "\n".join([*lines, f'FREQUENCY PORT "{clock}" {hz / 1e6:g} MHZ;', ""])


def board(*, pins, **facts):
    """A :class:`~bnnhw.boards.base.Board` with an ECP5.

    Parameters
    ----------
    pins : dict port -> (pin, attributes)
        Ports as in :data:`bnnhw.boards.top.PORTS`.
    facts
        Everything else that a board has.
    """
    return Board(**facts, top=lambda board, identity: Top(board, identity, pll(board.oscillator_hz, identity.clock_hz), pins),
                 constraints=lambda board: lpf(pins, "clk_pad", board.oscillator_hz),
                 clock=lambda board, hz: pll(board.oscillator_hz, hz).hz)
