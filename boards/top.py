"""A board's whole design: pins, PLL, and what runs behind them."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from ..gateware.board import BoardTop
from .reset import until_locked

__all__ = ["PORTS", "Top"]

# What a board may have, and its direction. An LED whose port ends in _n lights at 0.
PORTS = {"clk_pad": In, "rx": In, "tx": Out, "led_open": Out, "led_open_n": Out, "led_fault": Out, "led_fault_n": Out,
         "high": Out}


class Top(wiring.Component):
    """A board's design: the oscillator's pad, the PLL, and :class:`BoardTop`.

    Parameters
    ----------
    board : Board
    identity : Identity
    pll : object
        A PLL setting of the board's family: ``cell(m, pad)`` adds the PLL and gives its clock and its lock.
    ports : iterable of str
        The board's, of :data:`PORTS`.

    Members
    -------
    clk_pad, rx : In(1)
        Pins from the oscillator and from the host.
    tx : Out(1)
        Pin to the host.
    led_open, led_fault : Out(1)
        LEDs: a session is open; a packet was dropped.
    high : Out(1)
        Always 1, for a pin of the board that must be.
    """
    def __init__(self, board, identity, pll, ports):
        self.setting = pll
        self.inner = BoardTop(identity, divisor=board.divisor(identity.clock_hz))
        super().__init__({port: PORTS[port](1) for port in ports})

    def elaborate(self, platform):
        m = Module()

        m.submodules.inner = inner = self.inner
        clock, locked = self.setting.cell(m, self.clk_pad)
        m.d.comb += [
            inner.clk.eq(clock),
            inner.rst.eq(until_locked(m, clock, locked)),
            inner.rx.eq(self.rx),
        ]
        for port, value in {"tx": inner.tx, "led_open": inner.open, "led_open_n": ~inner.open, "led_fault": inner.faulty,
                            "led_fault_n": ~inner.faulty, "high": 1}.items():
            if hasattr(self, port):
                m.d.comb += getattr(self, port).eq(value)

        return m
