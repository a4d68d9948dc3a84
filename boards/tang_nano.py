"""Tang Nano 9K and 20K: Gowin GW1NR-9 and GW2AR-18, 27 MHz, serial line through the debug probe on the board.

https://wiki.sipeed.com/hardware/en/tang. The 20K's pins: its page there, and the platform `sipeed_tang_nano_20k` of LiteX-Boards
(BSD-2-Clause); amaranth-boards lacks it. The clock is twice the oscillator's, 54 cycles to a bit.
"""

from amaranth_boards.tang_nano_9k import TangNano9kPlatform as Table

from . import gowin
from .pins import pin

__all__ = ["TANG_NANO"]

LEVEL = {"IO_TYPE": "LVCMOS33"}
UP = {"PULL_MODE": "UP"}

TANG_NANO = (
    gowin.board(
        name="tang-nano-9k",
        title="Tang Nano 9K",
        device="gw1nr-9",
        package="GW1NR-LV9QN88PC6/I5",
        oscillator_hz=27_000_000,
        clock_hz=54_000_000,
        baud=1_000_000,
        pins={
            "clk_pad": pin(Table, "clk27"),
            "rx": (pin(Table, "uart", part="rx")[0], LEVEL | UP),
            "tx": (pin(Table, "uart", part="tx")[0], LEVEL),
            "led_open_n": pin(Table, "led", 0),
            "led_fault_n": pin(Table, "led", 1),
        },
        programmers=(("openFPGALoader", ("-b", "tangnano9k")),),
    ),
    gowin.board(
        name="tang-nano-20k",
        title="Tang Nano 20K",
        device="gw2a-18",
        package="GW2AR-LV18QN88C8/I7",
        oscillator_hz=27_000_000,
        clock_hz=54_000_000,
        baud=1_000_000,
        pins={
            "clk_pad": ("4", LEVEL),
            "rx": ("70", LEVEL | UP),
            "tx": ("69", LEVEL),
            "led_open_n": ("15", LEVEL),
            "led_fault_n": ("16", LEVEL),
        },
        programmers=(("openFPGALoader", ("-b", "tangnano20k")),),
    ),
)
