"""iCE40-HX8K breakout board: 12 MHz, USB serial line. Lattice EB85: jumpers J6 say whether the flash is written or the FPGA."""

from amaranth_boards.ice40_hx8k_b_evn import ICE40HX8KBEVNPlatform as Table

from . import ice40
from .pins import pin

__all__ = ["HX8K"]

HX8K = ice40.board(
    name="hx8k",
    title="iCE40-HX8K breakout board",
    device="hx8k",
    package="ct256",
    oscillator_hz=12_000_000,
    clock_hz=48_000_000,
    baud=3_000_000,     # a quarter of what the FT2232H does
    pins={
        "clk_pad": (pin(Table, "clk12")[0], {}),
        "rx": (pin(Table, "uart", part="rx")[0], {"PULLUP": 1}),
        "tx": (pin(Table, "uart", part="tx")[0], {}),
        "led_open": (pin(Table, "led", 0)[0], {}),
        "led_fault": (pin(Table, "led", 1)[0], {}),
    },
    programmers=(("openFPGALoader", ("-b", "ice40_generic")), ("iceprog", ())),
)
