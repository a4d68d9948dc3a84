"""What runs on a board: serial line, link and network, from the pins inward but without PLL and pin cells."""

from amaranth import *
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from .link import Link
from .uart import UartReceiver, UartTransmitter

__all__ = ["BoardTop"]

STARTUP_SECONDS = 10e-6     # reset after configuration: iCE40 block RAM reads zero for the first 3 us


class BoardTop(wiring.Component):
    """A network with its link to the host, in one clock domain.

    The network is the module ``bnnhw_top`` of the accelerator's Verilog, instantiated as it is: simulation, proofs and
    board have the same file. Everything but PLL and pin cells is in here, so the virtual board simulates the rest.

    Parameters
    ----------
    identity : Identity
        Of the network; ``identity.clock_hz`` is the clock's frequency.
    divisor : int
        Clock cycles per bit of the serial line, at least 4.

    Members
    -------
    clk : :py:`In(1)`
        Clock.
    rst : :py:`In(1)`
        Reset, synchronous to ``clk``: the clock is not yet stable, or a button. Everything stays in reset for another
        10 us.
    rx, tx : :py:`In(1)`, :py:`Out(1)`
        Serial line, from and to the host.
    open : :py:`Out(1)`
        A host has a session.
    faulty : :py:`Out(1)`
        A packet was dropped since the session opened.
    """
    def __init__(self, identity, *, divisor):
        self.identity = identity
        self.divisor = divisor
        self.link = Link(identity)
        self.receiver = UartReceiver(divisor)
        self.transmitter = UartTransmitter(divisor)
        super().__init__({"clk": In(1), "rst": In(1), "rx": In(1, init=1), "tx": Out(1), "open": Out(1), "faulty": Out(1)})

    def elaborate(self, platform):
        m = Module()

        # Counts from 0 after configuration (every family here initialises flip-flops) and after rst.
        m.domains.startup = startup = ClockDomain(local=True, reset_less=False)
        m.domains.sync = sync = ClockDomain(local=True)
        cycles = max(1, round(STARTUP_SECONDS * self.identity.clock_hz))
        elapsed = Signal(range(cycles + 1))
        m.d.comb += [startup.clk.eq(self.clk), startup.rst.eq(self.rst), sync.clk.eq(self.clk)]
        held = Signal(init=1)
        with m.If(held):
            m.d.startup += [elapsed.eq(elapsed + 1), held.eq(elapsed != cycles)]
        m.d.comb += sync.rst.eq(held)

        m.submodules.receiver = receiver = self.receiver
        m.submodules.transmitter = transmitter = self.transmitter
        m.submodules.link = link = self.link
        wiring.connect(m, receiver.o, link.i)
        wiring.connect(m, link.o, transmitter.i)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            link.lost.eq(receiver.error),
            self.open.eq(link.open),
            self.faulty.eq(link.faulty),
        ]
        m.submodules.network = Instance(
            "bnnhw_top",
            i_aclk=sync.clk,
            i_aresetn=link.aresetn,
            i_s_axis_tdata=link.frames.p.data,
            i_s_axis_tvalid=link.frames.valid,
            o_s_axis_tready=link.frames.ready,
            i_s_axis_tlast=link.frames.p.last,
            o_m_axis_tdata=link.results.p.data,
            o_m_axis_tvalid=link.results.valid,
            i_m_axis_tready=link.results.ready,
            o_m_axis_tlast=link.results.p.last,
            o_m_axis_tuser=link.results.p.error,
        )
        return m
