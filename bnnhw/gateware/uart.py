"""Asynchronous serial line, 8N1: one start bit, eight data bits, least significant first, one stop bit, no parity."""

from amaranth import *
from amaranth.lib import stream, wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

__all__ = ["UartReceiver", "UartTransmitter"]

DIVISOR_MIN = 4     # cycles per bit that the receiver needs to find the middle of a bit


def _check(divisor):
    if not isinstance(divisor, int) or divisor < DIVISOR_MIN:
        raise TypeError(f"divisor must be an integer of at least {DIVISOR_MIN} cycles per bit, not {divisor!r}")


class UartReceiver(wiring.Component):
    """Turns a serial line into bytes.

    Each bit is sampled in its middle. A start bit that is gone by its middle is noise and ignored. The search for the
    next start bit begins in the middle of the stop bit, so the sender's clock may differ by 4 %.

    A byte is offered half a bit before its stop bit ends (plus 3 cycles) and must be taken within 9 bits, or the next
    one replaces it.

    Parameters
    ----------
    divisor : int
        Clock cycles per bit, at least 4.

    Members
    -------
    rx : :py:`In(1)`
        The pin, asynchronous; 1 when idle. Two flip-flops synchronise it.
    o : :py:`Out(stream.Signature(8))`
        Bytes.
    error : :py:`Out(1)`
        High for one cycle when a byte is lost: its stop bit was 0, or the one before it was not taken in time.
    """
    def __init__(self, divisor):
        _check(divisor)
        self.divisor = divisor
        super().__init__({"rx": In(1), "o": Out(stream.Signature(8)), "error": Out(1)})

    def elaborate(self, platform):
        m = Module()

        line = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, line, init=1)

        timer, tick = Signal(range(self.divisor)), Signal()     # tick: timer is 0; a register, as what follows takes its time
        left = Signal(range(11))    # samples still to come: start bit, data bits, stop bit
        byte = Signal(8)

        with m.If(self.o.ready):
            m.d.sync += self.o.valid.eq(0)
        m.d.sync += self.error.eq(0)

        with m.If(left == 0):
            m.d.sync += [timer.eq(self.divisor // 2 - 1), tick.eq(0)]
            with m.If(~line):
                m.d.sync += left.eq(10)
        with m.Elif(~tick):
            m.d.sync += [timer.eq(timer - 1), tick.eq(timer == 1)]
        with m.Else():
            m.d.sync += [timer.eq(self.divisor - 1), tick.eq(0), left.eq(left - 1), byte.eq(Cat(byte[1:], line))]
            with m.If((left == 10) & line):
                m.d.sync += left.eq(0)
            with m.If(left == 1):
                m.d.sync += byte.eq(byte)
                with m.If(line):
                    m.d.sync += [self.o.payload.eq(byte), self.o.valid.eq(1)]
                    m.d.sync += self.error.eq(self.o.valid & ~self.o.ready)
                with m.Else():
                    m.d.sync += self.error.eq(1)

        return m


class UartTransmitter(wiring.Component):
    """Turns bytes into a serial line.

    A byte takes exactly ``10 * divisor`` cycles while bytes are there; the start bit begins in the cycle after the
    transfer.

    Parameters
    ----------
    divisor : int
        Clock cycles per bit, at least 4.

    Members
    -------
    i : :py:`In(stream.Signature(8))`
        Bytes.
    tx : :py:`Out(1)`
        The pin; 1 when idle.
    """
    def __init__(self, divisor):
        _check(divisor)
        self.divisor = divisor
        super().__init__({"i": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform):
        m = Module()

        timer, tick = Signal(range(self.divisor)), Signal()     # tick: timer is 0
        bits = Signal(10)      # what is still to be sent

        # Behind the stop bit stands another 1: alone in the register, it tells that the stop bit is on the line.
        alone = Signal()        # known a cycle after the bits, long before the next tick
        idle = Signal(init=1)

        m.d.comb += self.i.ready.eq(idle | (alone & tick))
        m.d.sync += alone.eq(bits == 1)
        # tx is registered: a pin must not glitch between bits.
        with m.If(self.i.ready):
            m.d.sync += [timer.eq(self.divisor - 1), tick.eq(0), bits.eq(0), self.tx.eq(1), idle.eq(~self.i.valid)]
            with m.If(self.i.valid):
                m.d.sync += [bits.eq(Cat(self.i.payload, C(0b11, 2))), self.tx.eq(0)]
        with m.Elif(~tick):
            m.d.sync += [timer.eq(timer - 1), tick.eq(timer == 1)]
        with m.Else():
            m.d.sync += [timer.eq(self.divisor - 1), tick.eq(0), bits.eq(bits >> 1), self.tx.eq(bits[0])]

        return m
