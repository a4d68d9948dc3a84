"""Boards: what their files say is right, as far as it can be known without one on the desk."""
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bnnhw import boards, devices, protocol
from bnnhw.boards.base import TOP, BoardError
from bnnhw.boards.ice40 import COMPARE_HZ, OUTPUT_HZ, VCO_HZ, pll
from bnnhw.gateware.link import identity_of


def identity(clock_hz):
    return identity_of(bytes(range(32)), clock_hz=clock_hz, frame_bytes=784, lanes=4, result_beats=11, bytes_per_beat=1,
                       scores=10)


@pytest.mark.parametrize("name", boards.names())
def test_board(name):
    board = boards.find(name)
    device = devices.find(board.device)
    assert board.package in device.packages
    text = board.verilog(identity(board.clock_hz))
    assert text == board.verilog(identity(board.clock_hz))
    header = next(line for line in text.splitlines() if line.startswith(f"module {TOP}("))
    ports = {port.strip() for port in header.split("(")[1].split(")")[0].split(",")}
    constrained = [line.split()[-2] for line in board.constraints(board).splitlines()]
    assert set(constrained) == ports and len(constrained) == len(ports)
    pins = [line.split()[-1] for line in board.constraints(board).splitlines()]
    assert len(set(pins)) == len(pins)
    assert int(board.link_fps(784)) == board.baud // 10 // 784


def test_icebreaker_pins():
    """Against the board's schematic: clock 35, serial in 6 and out 9, LEDs 37 and 11."""
    board = boards.find("icebreaker")
    assert board.constraints(board).split() == ("set_io clk_pad 35 set_io -pullup yes rx 6 set_io tx 9 "
                                                "set_io led_open_n 37 set_io led_fault_n 11").split()
    assert "SB_PLL40_PAD" in board.verilog(identity(30_000_000))


@pytest.mark.parametrize("hz, divr, divf, divq, filter_range", [   # as Lattice's and icestorm's calculators give them
    (30e6, 0, 79, 5, 1), (24e6, 0, 63, 5, 1), (36e6, 0, 47, 4, 1), (48e6, 0, 63, 4, 1),
])
def test_pll_settings(hz, divr, divf, divq, filter_range):
    setting = pll(12_000_000, hz)
    assert (setting.divr, setting.divf, setting.divq, setting.filter_range, setting.hz) == (divr, divf, divq, filter_range, hz)


@given(hz=st.integers(17_000_000, 200_000_000))
def test_pll_stays_in_range(hz):
    setting = pll(12_000_000, hz)
    compare = 12_000_000 / (setting.divr + 1)
    assert COMPARE_HZ[0] <= compare <= COMPARE_HZ[1]
    assert VCO_HZ[0] <= compare * (setting.divf + 1) <= VCO_HZ[1]
    assert OUTPUT_HZ[0] <= setting.hz <= hz * 1.000001
    assert setting.hz >= 0.95 * hz


def test_impossible_clock():
    with pytest.raises(BoardError, match=r"^a clock of 1 MHz cannot be made from 12 MHz; the PLL gives 16 to 275 MHz$"):
        pll(12_000_000, 1_000_000)


def test_unknown_board():
    with pytest.raises(BoardError, match="^unknown board 'arduino'; known are icebreaker$"):
        boards.find("arduino")


def test_identity_fits_the_protocol():
    packed = identity(30_000_000).pack()
    assert protocol.Identity.unpack(packed) == identity(30_000_000)
