"""Boards: what their files say is right, as far as it can be known without one on the desk."""
import json
import os
import re
import subprocess
import sys

import pytest
from amaranth import *
from amaranth.sim import Simulator
from hypothesis import given
from hypothesis import strategies as st

from bnnhw import boards, devices, protocol, run
from bnnhw.boards import ecp5, ice40
from bnnhw.boards.base import TOP, BoardError
from bnnhw.boards.reset import STAGES, until_locked
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
    pattern = {".pcf": r"^set_io .*?(\w+) (\w+)$", ".lpf": r'^LOCATE COMP "(\w+)" SITE "(\w+)";$'}[board.family.constraints]
    constrained, pins = zip(*re.findall(pattern, board.constraints(board), re.M), strict=True)
    assert set(constrained) == ports and len(constrained) == len(ports)
    assert len(set(pins)) == len(pins)
    assert int(board.clock(board, board.clock_hz)) == board.clock_hz == board.divisor(board.clock_hz) * board.baud
    assert int(board.link_fps(784)) == board.baud // 10 // 784


def test_icebreaker_pins():
    """Against the board's schematic: clock 35, serial in 6 and out 9, LEDs 37 and 11."""
    board = boards.find("icebreaker")
    assert board.constraints(board).split() == ("set_io clk_pad 35 set_io -pullup yes rx 6 set_io tx 9 "
                                                "set_io led_open_n 37 set_io led_fault_n 11").split()
    assert "SB_PLL40_PAD" in board.verilog(identity(30_000_000))


def test_ulx3s_pins():
    """Against the board's schematic and its constraint file: clock G2, serial in M1 and out L4, LEDs B2 and C2, GPIO0 L2."""
    board = boards.find("ulx3s-85f")
    assert re.findall(r'"(\w+)" SITE "(\w+)"', board.constraints(board)) == [
        ("clk_pad", "G2"), ("rx", "M1"), ("tx", "L4"), ("led_open", "B2"), ("led_fault", "C2"), ("high", "L2")]
    assert board.constraints(board).count("IO_TYPE=LVCMOS33") == 6
    assert 'IOBUF PORT "rx" IO_TYPE=LVCMOS33 PULLMODE=UP;' in board.constraints(board)
    assert board.constraints(board).endswith('FREQUENCY PORT "clk_pad" 25 MHZ;\n')


@pytest.mark.parametrize("hz, divr, divf, divq, filter_range", [   # as Lattice's and icestorm's calculators give them
    (30e6, 0, 79, 5, 1), (24e6, 0, 63, 5, 1), (36e6, 0, 47, 4, 1), (48e6, 0, 63, 4, 1),
])
def test_ice40_pll_settings(hz, divr, divf, divq, filter_range):
    setting = ice40.pll(12_000_000, hz)
    assert (setting.divr, setting.divf, setting.divq, setting.filter_range, setting.hz) == (divr, divf, divq, filter_range, hz)


@given(hz=st.integers(17_000_000, 200_000_000))
def test_ice40_pll_stays_in_range(hz):
    setting = ice40.pll(12_000_000, hz)
    compare = 12_000_000 / (setting.divr + 1)
    assert ice40.COMPARE_HZ[0] <= compare <= ice40.COMPARE_HZ[1]
    assert ice40.VCO_HZ[0] <= compare * (setting.divf + 1) <= ice40.VCO_HZ[1]
    assert ice40.OUTPUT_HZ[0] <= setting.hz <= hz * 1.000001
    assert setting.hz >= 0.95 * hz


@given(hz=st.integers(3_200_000, 400_000_000), oscillator_hz=st.sampled_from([12_000_000, 25_000_000, 48_000_000, 100_000_000]))
def test_ecp5_pll_stays_in_range(hz, oscillator_hz):
    """FPGA-DS-02012: comparator 10 to 400 MHz, oscillator 400 to 800, outputs 3.125 to 400, of which the feedback is one."""
    setting = ecp5.pll(oscillator_hz, hz)
    compare = oscillator_hz / setting.input_div
    assert 10e6 <= compare <= 400e6 and 400e6 <= compare * setting.feedback_div <= 800e6
    assert 3.125e6 <= compare * setting.feedback_div / setting.output_div == setting.hz <= hz * 1.000001
    assert setting.hz >= 0.95 * hz
    assert all(1 <= divider <= 128 for divider in (setting.input_div, setting.feedback_div, setting.output_div))


def test_ecp5_pll_in_the_verilog():
    """The cell has the divisions of the setting: 25 MHz * 24 / 10, and CLKOP, the feedback, at 25 MHz."""
    text = boards.find("ulx3s-25f").verilog(identity(60_000_000))
    for name, value in {"CLKI_DIV": 1, "CLKFB_DIV": 1, "CLKOP_DIV": 24, "CLKOS_DIV": 10, "CLKOP_CPHASE": 23,
                        "CLKOS_CPHASE": 9}.items():
        assert int(re.search(rf"\.{name}\(32'd(\d+)\)", text)[1]) == value, name
    assert re.search(r"\.CLKFB\((.+?)\)", text)[1] == re.search(r"\.CLKOP\((.+?)\)", text)[1]


@pytest.mark.parametrize("find, oscillator_hz, hz, message", [
    (ice40.pll, 12_000_000, 1_000_000, "a clock of 1 MHz cannot be made from 12 MHz; the PLL gives 16 to 275 MHz"),
    (ecp5.pll, 25_000_000, 1_000_000, "a clock of 1 MHz cannot be made from 25 MHz; the PLL gives 3.125 to 400 MHz"),
    (ecp5.pll, 25_000_000, 500_000_000,
     "a clock of 500 MHz cannot be made from 25 MHz; the PLL gives 3.125 to 400 MHz, next 400 MHz"),
])
def test_impossible_clock(find, oscillator_hz, hz, message):
    with pytest.raises(BoardError, match=f"^{re.escape(message)}$"):
        find(oscillator_hz, hz)


def test_reset_until_locked():
    """Reset from the first cycle, although the PLL may have locked before, and again while the lock is lost."""
    m = Module()
    clock, locked, reset = Signal(), Signal(), Signal()
    m.d.comb += reset.eq(until_locked(m, clock, locked))
    seen = []

    async def bench(ctx):
        for locks, cycles in ((1, 20), (0, 5), (1, 20)):
            ctx.set(locked, locks)
            for _ in range(cycles):
                seen.append(ctx.get(reset))
                ctx.set(clock, 1)
                await ctx.delay(1e-6)
                ctx.set(clock, 0)
                await ctx.delay(1e-6)

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()
    # The lock is seen after two stages and a register either way.
    high = STAGES + 1
    assert seen == [1] * high + [0] * (20 - high) + [0] * 3 + [1] * 2 + [1] * high + [0] * (20 - high)


def test_unknown_board():
    with pytest.raises(BoardError, match="^unknown board 'arduino'; known are icebreaker, ulx3s-12f, ulx3s-25f, ulx3s-45f, "
                                         "ulx3s-85f$"):
        boards.find("arduino")


def test_identity_fits_the_protocol():
    packed = identity(30_000_000).pack()
    assert protocol.Identity.unpack(packed) == identity(30_000_000)


@pytest.mark.parametrize("name, ending, arguments", [("icebreaker", ".bin", ["-b", "ice40_generic"]),
                                                     ("ulx3s-85f", ".bit", ["-b", "ulx3s"])])
def test_flash_and_rate(tmp_path, name, ending, arguments):
    """A build folder says which file the board's programmer gets, and how fast its serial line is."""
    (tmp_path / "report.json").write_text(json.dumps({"model": {"name": "net", "network_sha256": "0" * 64},
                                                      "board": {"name": name}}))
    for other in (".bin", ".bit"):
        (tmp_path / f"net{other}").write_text(other)
    loader = tmp_path / "loader"
    loader.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    loader.chmod(0o755)
    done = subprocess.run([sys.executable, "-m", "bnnhw.flash", tmp_path], text=True, capture_output=True,
                          env=os.environ | {"BNNHW_OPENFPGALOADER": str(loader)})
    assert done.returncode == 0 and done.stdout.startswith(f"{boards.find(name).title} holds net (000000000000)"), done.stderr
    assert (tmp_path / "flash.log").read_text().split() == [*arguments, str(tmp_path / f"net{ending}")]
    assert run._baud(tmp_path) == boards.find(name).baud
    (tmp_path / f"net{ending}").unlink()
    done = subprocess.run([sys.executable, "-m", "bnnhw.flash", tmp_path], text=True, capture_output=True)
    assert done.returncode == 1 and "there is no bitstream" in done.stderr


def test_rate_without_a_board(tmp_path):
    assert run._baud("mnist-tfc") == run.BAUD
    (tmp_path / "report.json").write_text('{"board": null}')
    assert run._baud(tmp_path) == run.BAUD
