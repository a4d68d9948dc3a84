"""What a board is."""

import math
from dataclasses import dataclass

from amaranth.back import verilog

from .. import devices
from ..errors import UsageError
from ..families import FAMILIES

__all__ = ["TOP", "Board", "BoardError"]

TOP = "bnnhw_board"         # top module of the board's Verilog
BAUD_ERROR = 0.02
CLOCK_DIGITS = 3            # of a clock in Hz: what is beyond is of floating point
BELOW = 1 - 2e-9            # so much below a clock a board makes a slower one, where 1e-9 below may be rounding (ecp5.py)
BITS_PER_BYTE = 10          # on the serial line: start bit, eight bits, stop bit


class BoardError(UsageError):
    """A board that bnnhw does not know, or something that it cannot do; the message says what it can."""


@dataclass(frozen=True)
class Board:
    """A board: device, clock, link, programmer. ``board`` in :mod:`~bnnhw.boards.ice40`, :mod:`~bnnhw.boards.ecp5` and
    :mod:`~bnnhw.boards.gowin` make one from its pins.

    Attributes
    ----------
    name, title : str
        As given to ``--board``; as people call it.
    device, package : str
        A name in :data:`bnnhw.devices.DEVICES`, one of its packages.
    oscillator_hz : int
        What is soldered on.
    clock_hz : int
        The accelerator's clock if none is asked for.
    baud : int
        Of the serial line.
    top : callable (board, identity) -> Component
        The whole design: pins, PLL, and the part that is simulated, too (:class:`bnnhw.boards.top.Top`).
    constraints : callable (board) -> str
        The text of the file that says the pins.
    clock : callable (board, hz) -> float
        The clock nearest to ``hz`` that the board can make. Raises :exc:`BoardError`.
    programmers : tuple of (tool, arguments)
        How to load a bitstream, in order of preference; the file's name follows the arguments.
    """
    name: str
    title: str
    device: str
    package: str
    oscillator_hz: int
    clock_hz: int
    baud: int
    top: object
    constraints: object
    clock: object
    programmers: tuple

    @property
    def family(self):
        """The device's :class:`~bnnhw.families.Family`."""
        return FAMILIES[devices.find(self.device).family]

    @property
    def link(self):
        """The link in words."""
        return f"UART at {self.baud / 1e6:g} Mbaud"

    def link_fps(self, frame_bytes):
        """Frames per second that the serial line carries at most: its bytes per second over the bytes of a frame."""
        return self.baud / BITS_PER_BYTE / frame_bytes

    def divisor(self, clock_hz):
        """Clock cycles per bit of the serial line.

        Raises
        ------
        BoardError
            The line would be more than 2 % off its rate: over ten bits the last one is sampled too near its edge.
        """
        divisor = max(4, round(clock_hz / self.baud))
        error = clock_hz / divisor / self.baud - 1
        if abs(error) > BAUD_ERROR:
            raise BoardError(f"a clock of {clock_hz / 1e6:g} MHz is {clock_hz / self.baud:.2f} times {self.baud / 1e6:g} Mbaud: "
                             f"the serial line would be {error:+.1%} off, and {BAUD_ERROR:.0%} is possible")
        return divisor

    def whole_hz(self, hz):
        """The clock that the board makes where ``hz`` are asked for, in whole Hz. Rounded up: asked for that, it makes the same.

        Raises
        ------
        BoardError
            It can make none that is near.
        """
        return math.ceil(round(self.clock(self, hz), CLOCK_DIGITS))

    def fastest_hz(self, limit_hz):
        """The fastest clock up to ``limit_hz`` that the board can make and at which the serial line works, as :meth:`whole_hz`.

        Raises
        ------
        BoardError
            There is none.
        """
        made = self.whole_hz(limit_hz)
        while not self._on_time(made):
            made = self.whole_hz(self.clock(self, made) * BELOW)
        return made

    def _on_time(self, clock_hz):
        """Whether the serial line works at a clock."""
        try:
            self.divisor(clock_hz)
        except BoardError:
            return False
        return True

    def verilog(self, identity):
        """The board's own Verilog, top module :data:`TOP`, without the accelerator. No path of this machine is in it.

        Parameters
        ----------
        identity : Identity
            Of the network, with the clock that the PLL is to make.

        Raises
        ------
        BoardError
            The clock cannot be made from the oscillator.
        """
        return verilog.convert(self.top(self, identity), name=TOP, emit_src=False)
