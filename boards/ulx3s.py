"""ULX3S: ECP5 in four sizes, 25 MHz, USB serial line (FT231X). https://ulx3s.github.io"""

from amaranth_boards.ulx3s import ULX3S_85F_Platform as Table

from . import ecp5
from .pins import pin

__all__ = ["ULX3S"]

SIZES = (12, 25, 45, 85)        # with the same pins
RX, LEVEL = pin(Table, "uart", part="rx")


def _board(size):
    # 3 Mbaud, the most that the FT231X does, of which 60 MHz is a multiple: the line is what limits images per second.
    return ecp5.board(
        name=f"ulx3s-{size}f",
        title=f"ULX3S with LFE5U-{size}F",
        device=f"ecp5-{size}f",
        package="CABGA381",
        oscillator_hz=25_000_000,
        clock_hz=60_000_000,
        baud=3_000_000,
        pins={
            "clk_pad": pin(Table, "clk25"),
            "rx": (RX, LEVEL | {"PULLMODE": "UP"}),     # idle while nothing drives it
            "tx": pin(Table, "uart", part="tx"),
            "led_open": pin(Table, "led", 0),
            "led_fault": pin(Table, "led", 1),
            "high": pin(Table, "esp32", part="gpio0"),  # low, the ESP32 beside it would take its button for pressed
        },
        programmers=(("openFPGALoader", ("-b", "ulx3s")), ("fujprog", ())),
    )


ULX3S = tuple(map(_board, SIZES))
