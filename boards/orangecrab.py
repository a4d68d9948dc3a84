"""OrangeCrab r0.2 with ECP5 25F: 48 MHz, a serial line at its header. https://github.com/orangecrab-fpga

Its USB goes to the FPGA itself, so the host needs a serial adapter of 3.3 V at pins 0 (in) and 1 (out), where a Feather has its
serial line. The bootloader takes bitstreams as a DFU device.
"""

from amaranth_boards.orangecrab_r0_2 import OrangeCrabR0_2_25FPlatform as Table

from . import ecp5
from .pins import pin

__all__ = ["ORANGECRAB"]

HEADER = Table.connectors[0].mapping
LEVEL = {"IO_TYPE": "LVCMOS33"}

ORANGECRAB = ecp5.board(
    name="orangecrab",
    title="OrangeCrab r0.2 with LFE5U-25F",
    device="ecp5-25f-8",
    package="CSFBGA285",
    oscillator_hz=48_000_000,
    clock_hz=60_000_000,
    baud=1_000_000,     # of any adapter
    pins={
        "clk_pad": pin(Table, "clk"),
        "rx": (HEADER["0"], LEVEL | {"PULLMODE": "UP"}),
        "tx": (HEADER["1"], LEVEL),
        "led_open_n": pin(Table, "rgb_led", part="g"),
        "led_fault_n": pin(Table, "rgb_led", part="r"),
    },
    programmers=(("openFPGALoader", ("-b", "orangeCrab")), ("dfu-util", ("-a", "0", "-D"))),
)
