"""ULX3S: ECP5 in four sizes, 25 MHz, USB serial line (FT231X). https://ulx3s.github.io"""

from amaranth_boards.ulx3s import ULX3S_85F_Platform

from .base import Board
from .ecp5 import Ecp5Top, lpf, pll

__all__ = ["ULX3S"]

SIZES = (12, 25, 45, 85)


def _pin(name, number=0, part=None):
    """(package pin, attributes) of a resource, from the table of amaranth-boards, which is the same for all sizes."""
    resource = next(r for r in ULX3S_85F_Platform.resources if (r.name, r.number) == (name, number))
    pins = resource.ios[0] if part is None else next(s for s in resource.ios if s.name == part).ios[0]
    return pins.names[0], dict(resource.attrs)


def _constraints(board):
    """The line from the host is pulled up: idle while nothing drives it."""
    rx, attributes = _pin("uart", part="rx")
    return lpf({
        "clk_pad": _pin("clk25"),
        "rx": (rx, attributes | {"PULLMODE": "UP"}),
        "tx": _pin("uart", part="tx"),
        "led_open": _pin("led", 0),
        "led_fault": _pin("led", 1),
        "high": _pin("esp32", part="gpio0"),    # low, the ESP32 beside it would take its button for pressed
    }, "clk_pad", board.oscillator_hz)


def _board(size):
    # 3 Mbaud, the most that the FT231X does, of which 60 MHz is a multiple: the line is what limits images per second.
    return Board(
        name=f"ulx3s-{size}f",
        title=f"ULX3S with LFE5U-{size}F",
        device=f"ecp5-{size}f",
        package="CABGA381",
        oscillator_hz=25_000_000,
        clock_hz=60_000_000,
        baud=3_000_000,
        top=Ecp5Top,
        constraints=_constraints,
        clock=lambda board, hz: pll(board.oscillator_hz, hz).hz,
        programmers=(("openFPGALoader", ("-b", "ulx3s")), ("fujprog", ())),
    )


ULX3S = tuple(map(_board, SIZES))
