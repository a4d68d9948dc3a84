"""iCEBreaker 1.0: iCE40 UP5K, 12 MHz, USB serial line. https://docs.icebreaker-fpga.org"""

from amaranth_boards.icebreaker import ICEBreakerPlatform

from .base import Board
from .ice40 import Ice40Top, pcf, pll

__all__ = ["ICEBREAKER"]


def _pin(name, number=0, part=None):
    """The package pin of a resource, from the table of amaranth-boards."""
    resource = next(r for r in ICEBreakerPlatform.resources if (r.name, r.number) == (name, number))
    pins = resource.ios[0] if part is None else next(s for s in resource.ios if s.name == part).ios[0]
    return pins.names[0]


def _constraints(board):
    return pcf({
        "clk_pad": (_pin("clk12"), False),
        "rx": (_pin("uart", part="rx"), True),
        "tx": (_pin("uart", part="tx"), False),
        "led_open_n": (_pin("led_g"), False),
        "led_fault_n": (_pin("led_r"), False),
    })


ICEBREAKER = Board(
    name="icebreaker",
    title="iCEBreaker 1.0",
    device="up5k",
    package="sg48",
    oscillator_hz=12_000_000,
    clock_hz=30_000_000,
    baud=1_000_000,
    top=Ice40Top,
    constraints=_constraints,
    clock=lambda board, hz: pll(board.oscillator_hz, hz).hz,
    programmers=(("openFPGALoader", ("-b", "ice40_generic")), ("iceprog", ())),
)
