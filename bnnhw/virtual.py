"""A virtual board: the complete board top, its serial pins included, simulated behind a pseudo-terminal.

A host program opens the pseudo-terminal exactly as it opens a real board's serial port. The Verilog is what a real board
has, without PLL and pin cells: the accelerator's one file, and :class:`~bnnhw.gateware.board.BoardTop` around it.
"""

import subprocess
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import verilog

from . import verilated
from .errors import UserError
from .gateware.board import BoardTop

__all__ = ["Ended", "VirtualBoard", "VirtualError", "board_verilog"]

TOP = "bnnhw_virtual"
HARNESS = Path(__file__).with_name("virtual.cpp")
DIVISOR = 4                 # cycles per bit: the fewest that the receiver takes, for speed
QUIET_CYCLES = 20_000       # without traffic, after which the simulation rests until the host speaks
END_S = 5.0                 # for the simulation to end itself


class VirtualError(UserError):
    """A virtual board that did not start."""


@dataclass(frozen=True)
class Ended:
    """What a virtual board did: simulated cycles, bytes, noise, resets."""
    cycles: int
    received: int
    sent: int
    flipped: int
    dropped: int
    resets: int


def board_verilog(identity, divisor=DIVISOR):
    """The Verilog of the board around the accelerator, module ``bnnhw_virtual``; no path of this machine is in it."""
    return verilog.convert(BoardTop(identity, divisor=divisor), name=TOP, emit_src=False)


class VirtualBoard:
    """A simulated board that runs while a ``with`` block lasts.

    Parameters
    ----------
    accelerator : str
        Verilog of ``bnnhw_top``.
    identity : Identity
        Of its network.
    divisor : int
        Clock cycles per bit of the serial line.
    flip, drop : float
        Chances, each way, that a byte is altered or lost on the line.
    seed : int
        Of this noise.
    resets : sequence of int
        The board is reset when so many bytes have come from the host.
    quiet : int
        Cycles without traffic after which the simulation rests until the host speaks, and so uses no processor time.
    say : callable (str)
        Told when the simulator is compiled, which takes long; it is kept for the next time.

    Attributes
    ----------
    port : str
        Name of the pseudo-terminal, once started.
    ended : Ended or None
        What it did, once ended.

    Raises
    ------
    VirtualError, ToolMissing, ToolError
    """
    def __init__(self, accelerator, identity, *, divisor=DIVISOR, flip=0.0, drop=0.0, seed=0, resets=(), quiet=QUIET_CYCLES,
                 say=lambda text: None):
        self._program = verilated.compile(board_verilog(identity, divisor) + accelerator, HARNESS, top=TOP, say=say)
        self._arguments = [f"divisor={divisor}", f"flip={flip}", f"drop={drop}", f"seed={seed}", f"quiet={quiet}",
                           *(f"reset={count}" for count in resets)]
        self.port = self.ended = self._process = None

    def __enter__(self):
        # A session of its own: Ctrl-C is for this program, which then ends that one.
        self._process = subprocess.Popen([self._program, *self._arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                         text=True, start_new_session=True)
        word, _, port = self._process.stdout.readline().strip().partition(" ")
        if word != "port":
            self.__exit__()
            raise VirtualError("the simulated board did not start: it could get no pseudo-terminal")
        self.port = port
        return self

    def __exit__(self, *exception):
        try:
            output, _ = self._process.communicate(timeout=END_S)    # closes its input, which ends it
        except BaseException as error:
            self._process.kill()
            self._process.communicate()
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return
        for line in output.splitlines():
            word, *counts = line.split()
            if word == "ended":
                self.ended = Ended(*map(int, counts))

    @property
    def running(self):
        """Whether the simulation has not ended by itself."""
        return self._process.poll() is None
