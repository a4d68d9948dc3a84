"""iCEstick: iCE40 HX1K, 12 MHz, USB serial line. Lattice EB82."""

from amaranth_boards.icestick import ICEStickPlatform as Table

from . import ice40
from .pins import pin

__all__ = ["ICESTICK"]

ICESTICK = ice40.board(
    name="icestick",
    title="iCEstick",
    device="hx1k",
    package="tq144",
    oscillator_hz=12_000_000,
    clock_hz=48_000_000,
    baud=3_000_000,     # a quarter of what the FT2232H does
    pins={
        "clk_pad": (pin(Table, "clk12")[0], {}),
        "rx": (pin(Table, "uart", part="rx")[0], {"PULLUP": 1}),
        "tx": (pin(Table, "uart", part="tx")[0], {}),
        "led_open": (pin(Table, "led", 4)[0], {}),      # the green one in the middle
        "led_fault": (pin(Table, "led", 0)[0], {}),
    },
    programmers=(("openFPGALoader", ("-b", "ice40_generic")), ("iceprog", ())),
)
