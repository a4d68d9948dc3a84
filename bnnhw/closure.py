"""``--clock auto``: the fastest clock that routed timing supports."""

import dataclasses
import tempfile
from pathlib import Path

from .accelerator import verilog
from .bitstream import ClockMissed, make_bitstream
from .estimate.figures import speed
from .implement import ImplementError
from .plan import PlanError

__all__ = ["STEPS", "close", "goal_hz", "routed_hz"]

# About what a few tables in a row between two registers take, routed, by a device's delays: where routing shall say how fast a
# design is, no unit is to be slow for want of registers.
GOALS_HZ = {"ice40-u": 60e6, "ice40-hx": 160e6, "ecp5-6": 160e6, "ecp5-8": 200e6, "ecp5-5g": 240e6, "gowin-gw1n": 170e6,
            "gowin-gw2a": 250e6}
STEPS = 3       # clocks at which the rebuilt design is tried, each below what the one before has reached


def goal_hz(device):
    """The clock for which units on ``device`` have registers where routing shall say how fast they are."""
    return GOALS_HZ[speed(device)]


def routed_hz(plan, board, narrator):
    """What ``plan``'s whole design reaches on ``board`` after routing, in Hz: the first placement that meets the plan's clock, or
    the best of several that do not. Its files are not kept.

    Raises
    ------
    ImplementError
        As of :func:`~bnnhw.bitstream.make_bitstream`, but for a clock that is missed.
    """
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "first.v")
        source.write_text(verilog(plan))
        try:
            return make_bitstream(plan, source, Path(folder), board, narrator=narrator)["device"]["fmax_hz"]
        except ClockMissed as missed:
            return missed.fmax_hz


def close(first, board, *, reached_hz, replan, build, narrator):
    """Build at the fastest clock that routed timing supports.

    ``first``, planned for the board's usual clock, has reached ``reached_hz``. For the fastest clock up to that which the board
    can make the network is planned anew, since much of a plan depends on the clock, and built. Where the new design misses that
    clock it is built again at the fastest clock up to what it has reached: its folding stays, only the PLL's setting, the serial
    line's divider and what the board says of its clock are others, so that synthesis and routing run again with nearly the same
    cells. After :data:`STEPS` builds that missed, or where what was planned anew cannot be built at all, ``first`` is built, if
    it met its clock.

    Parameters
    ----------
    first : Plan
    board : Board
    reached_hz : float
    replan : callable (clock_hz) -> Plan
    build : callable (plan, rounds) -> dict
        Builds for good; ``rounds`` is what was routed before. Raises :exc:`~bnnhw.bitstream.ClockMissed`.
    narrator : Narrator

    Returns
    -------
    dict
        What ``build`` gave. ``rounds`` has for each design that was routed before ``clock_hz``, ``fmax_hz`` and ``interval``, its
        cycles per image.

    Raises
    ------
    ClockMissed
        No design met its clock.
    ImplementError, PlanError
        ``first`` missed its clock, and what was planned anew cannot be built.
    BoardError
        The board cannot make so slow a clock.
    """
    rounds = [_round(first, reached_hz)]
    narrator.say(f"{reached_hz / 1e6:.2f} MHz after routing: planning for {board.fastest_hz(reached_hz) / 1e6:g} MHz")
    try:
        plan = replan(board.fastest_hz(reached_hz))
        for _ in range(STEPS):
            try:
                return build(plan, rounds)
            except ClockMissed as missed:
                rounds.append(_round(plan, missed.fmax_hz))
                last, plan = missed, dataclasses.replace(plan, clock_hz=board.fastest_hz(missed.fmax_hz))
                narrator.say(f"{missed.fmax_hz / 1e6:.2f} MHz after routing: the same folding at {plan.clock_hz / 1e6:g} MHz")
    except (ImplementError, PlanError) as other:
        last = other
        narrator.say(f"not at that clock: {other}")
    if reached_hz < first.clock_hz:
        raise last
    narrator.say(f"back to the first design, at {first.clock_hz / 1e6:g} MHz")
    return build(first, rounds)


def _round(plan, fmax_hz):
    return {"clock_hz": plan.clock_hz, "fmax_hz": fmax_hz, "interval": plan.cycles_per_inference}
