"""iCEBreaker 1.0: iCE40 UP5K, 12 MHz, USB serial line. https://docs.icebreaker-fpga.org"""

from amaranth_boards.icebreaker import ICEBreakerPlatform as Table

from . import ice40
from .pins import pin

__all__ = ["ICEBREAKER"]

ICEBREAKER = ice40.board(
    name="icebreaker",
    title="iCEBreaker 1.0",
    device="up5k",
    package="sg48",
    oscillator_hz=12_000_000,
    clock_hz=30_000_000,
    baud=1_000_000,
    kind=ice40.PadPll,
    pins={
        "clk_pad": (pin(Table, "clk12")[0], {}),
        "rx": (pin(Table, "uart", part="rx")[0], {"PULLUP": 1}),
        "tx": (pin(Table, "uart", part="tx")[0], {}),
        "led_open_n": (pin(Table, "led_g")[0], {}),
        "led_fault_n": (pin(Table, "led_r")[0], {}),
    },
    programmers=(("openFPGALoader", ("-b", "ice40_generic")), ("iceprog", ())),
)
