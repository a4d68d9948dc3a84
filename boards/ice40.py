"""iCE40: clock from the PLL's pad, pins, constraints."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..gateware.board import BoardTop
from .base import BoardError
from .reset import until_locked

__all__ = ["Pll", "pll", "Ice40Top", "pcf"]

# Lattice FPGA-TN-02052, iCE40 sysCLOCK PLL: ranges in Hz.
OUTPUT_HZ = (16e6, 275e6)
VCO_HZ = (533e6, 1066e6)
COMPARE_HZ = (10e6, 133e6)
# FILTER_RANGE by the phase comparator's frequency: the first row whose limit is above it.
FILTER_RANGES = ((17e6, 1), (26e6, 2), (44e6, 3), (66e6, 4), (101e6, 5), (133e6, 6))


class Pll:
    """A PLL setting: ``divr``, ``divf``, ``divq``, ``filter_range`` as SB_PLL40 takes them, and ``hz`` that comes out."""
    def __init__(self, oscillator_hz, divr, divf, divq):
        self.divr, self.divf, self.divq = divr, divf, divq
        compare = oscillator_hz / (divr + 1)
        self.filter_range = next(setting for limit, setting in FILTER_RANGES if compare <= limit)
        self.hz = compare * (divf + 1) / 2**divq


def pll(oscillator_hz, wanted_hz):
    """The PLL setting that comes nearest to ``wanted_hz`` without exceeding it (simple feedback).

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
                setting = Pll(oscillator_hz, divr, divf, divq)
                if OUTPUT_HZ[0] <= setting.hz <= OUTPUT_HZ[1] and setting.hz <= wanted_hz * (1 + 1e-9) \
                        and (best is None or setting.hz > best.hz):
                    best = setting
    if best is None or best.hz < 0.95 * wanted_hz:
        raise BoardError(f"a clock of {wanted_hz / 1e6:g} MHz cannot be made from {oscillator_hz / 1e6:g} MHz; the PLL gives "
                         f"{OUTPUT_HZ[0] / 1e6:g} to {OUTPUT_HZ[1] / 1e6:g} MHz"
                         + (f", next {best.hz / 1e6:g} MHz" if best else ""))
    return best


class Ice40Top(wiring.Component):
    """A board's design: the oscillator's pad, the PLL, and :class:`BoardTop`.

    Members
    -------
    clk_pad, rx : In(1)
        Pins from the oscillator and from the host. Only a PLL_PAD may sit at a pad that it uses.
    tx, led_open_n, led_fault_n : Out(1)
        Pins to the host and to two LEDs that light at 0: a session is open; a packet was dropped.
    """
    def __init__(self, board, identity):
        self.setting = pll(board.oscillator_hz, identity.clock_hz)
        self.inner = BoardTop(identity, divisor=board.divisor(identity.clock_hz))
        super().__init__({"clk_pad": In(1), "rx": In(1), "tx": Out(1), "led_open_n": Out(1), "led_fault_n": Out(1)})

    def elaborate(self, platform):
        m = Module()

        m.submodules.inner = inner = self.inner
        clock, locked = Signal(name="pll_clock"), Signal(name="pll_locked")
        m.submodules.pll = Instance(
            "SB_PLL40_PAD",
            p_FEEDBACK_PATH="SIMPLE", p_PLLOUT_SELECT="GENCLK",
            p_DIVR=Const(self.setting.divr, 4), p_DIVF=Const(self.setting.divf, 7), p_DIVQ=Const(self.setting.divq, 3),
            p_FILTER_RANGE=Const(self.setting.filter_range, 3),
            i_PACKAGEPIN=self.clk_pad, i_RESETB=Const(1, 1), i_BYPASS=Const(0, 1),
            o_PLLOUTGLOBAL=clock, o_LOCK=locked,
        )
        m.d.comb += [
            inner.clk.eq(clock),
            inner.rst.eq(until_locked(m, clock, locked)),
            inner.rx.eq(self.rx),
            self.tx.eq(inner.tx),
            self.led_open_n.eq(~inner.open),
            self.led_fault_n.eq(~inner.faulty),
        ]

        return m


def pcf(pins):
    """A constraint file from ``{port: (pin, pull-up)}``."""
    return "".join(f"set_io{' -pullup yes' if pullup else ''} {port} {pin}\n" for port, (pin, pullup) in pins.items())
