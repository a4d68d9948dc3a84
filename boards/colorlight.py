"""Colorlight i5 v7.0 on its extension board: ECP5 25F, 25 MHz, serial line through the debug probe on that board.

Pins: https://github.com/wuxx/Colorlight-FPGA-Projects, which found them out, and the platform `colorlight_i5` of LiteX-Boards
(BSD-2-Clause), where the extension board's serial line is. The module has one LED.
"""

from . import ecp5

__all__ = ["COLORLIGHT"]

LEVEL = {"IO_TYPE": "LVCMOS33"}

COLORLIGHT = ecp5.board(
    name="colorlight-i5",
    title="Colorlight i5 v7.0",
    device="ecp5-25f",
    package="CABGA381",
    oscillator_hz=25_000_000,
    clock_hz=60_000_000,
    baud=1_000_000,     # the probe is a microcontroller
    pins={
        "clk_pad": ("P3", LEVEL),
        "rx": ("H18", LEVEL | {"PULLMODE": "UP"}),
        "tx": ("J17", LEVEL),
        "led_open_n": ("U16", LEVEL),
    },
    programmers=(("openFPGALoader", ("-b", "colorlight-i5")), ("ecpdap", ("program", "--freq", "5000"))),
)
