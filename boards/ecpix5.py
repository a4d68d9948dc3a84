"""ECPIX-5 R02 with LFE5UM5G-85F: 100 MHz, serial line through the board's FT2232H. http://docs.lambdaconcept.com/ecpix-5

R03 has an FT4232H there: openFPGALoader calls that board ecpix5_r03.
"""

from amaranth_boards.ecpix5 import ECPIX585Platform as Table

from . import ecp5
from .pins import pin

__all__ = ["ECPIX5"]

ECPIX5 = ecp5.board(
    name="ecpix5-85f",
    title="ECPIX-5 R02 with LFE5UM5G-85F",
    device="ecp5um5g-85f",
    package="CABGA554",
    oscillator_hz=100_000_000,
    clock_hz=60_000_000,
    baud=3_000_000,     # a quarter of what the FT2232H does
    pins={
        "clk_pad": pin(Table, "clk100"),
        "rx": pin(Table, "uart", part="rx"),
        "tx": pin(Table, "uart", part="tx"),
        "led_open_n": pin(Table, "rgb_led", 0, part="g"),
        "led_fault_n": pin(Table, "rgb_led", 0, part="r"),
    },
    programmers=(("openFPGALoader", ("-b", "ecpix5")),),
)
