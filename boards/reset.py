"""Reset of a design whose clock comes from a PLL."""

from amaranth import *

__all__ = ["STAGES", "until_locked"]

STAGES = 8      # cycles of reset after lock; the first two bring the lock, which is not synchronous, into the clock's domain


def until_locked(m, clock, locked):
    """A reset, synchronous to ``clock``: high from configuration until :data:`STAGES` cycles after ``locked`` last rose.

    The flip-flops begin at 1, and each needs a clock edge to fall. So the reset lasts several edges even where the PLL has locked
    before the device's global reset ends (on ECP5 that end is not synchronous to the clock, and flip-flops may see it one edge
    apart): whatever is reset by it begins in one state.
    """
    unlocked = Signal(STAGES, init=(1 << STAGES) - 1)
    m.domains.pll = ClockDomain(local=True, reset_less=True)
    m.d.comb += ClockSignal("pll").eq(clock)
    m.d.pll += unlocked.eq(Cat(~locked, unlocked[:-1]))
    reset = Signal(init=1)
    m.d.pll += reset.eq(unlocked[1:].any())
    return reset
