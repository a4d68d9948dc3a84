"""Boards: what their files say is right, as far as it can be known without one on the desk."""
import bisect
import functools
import json
import os
import random
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest
from amaranth import *
from amaranth.sim import Simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import boards, devices, protocol, run
from bnnhw.boards import ecp5, gowin, ice40
from bnnhw.boards.base import TOP, BoardError
from bnnhw.boards.reset import STAGES, until_locked
from bnnhw.gateware.link import identity_of

ROOT = Path(__file__).parents[1]


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
    pattern = {".pcf": r"^set_io .*?(\w+) (\w+)$", ".lpf": r'^LOCATE COMP "(\w+)" SITE "(\w+)";$',
               ".cst": r'^IO_LOC "(\w+)" (\w+);$'}[board.family.constraints]
    constrained, pins = zip(*re.findall(pattern, board.constraints(board), re.M), strict=True)
    assert set(constrained) == ports and len(constrained) == len(ports) and {"clk_pad", "rx", "tx"} < ports
    assert len(set(pins)) == len(pins)
    assert int(board.clock(board, board.clock_hz)) == board.clock_hz == board.divisor(board.clock_hz) * board.baud
    assert int(board.link_fps(784)) == board.baud // 10 // 784


def test_the_page_shows_a_whole_board():
    shown = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "boards.md").read_text(), re.S)[1]
    source = (ROOT / "boards" / "icestick.py").read_text()
    assert shown == source


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


@pytest.mark.parametrize("name, pins", [
    # From amaranth-boards 0.0.21 and (Colorlight, Tang Nano 20K) LiteX-Boards: no newer table moves them unseen.
    ("icestick", "clk_pad 21 rx 9 tx 8 led_open 95 led_fault 99"),
    ("hx8k", "clk_pad J3 rx B10 tx B12 led_open C3 led_fault B3"),
    ("orangecrab", "clk_pad A9 rx N17 tx M18 led_open_n M3 led_fault_n K4"),
    ("colorlight-i5", "clk_pad P3 rx H18 tx J17 led_open_n U16"),
    ("ecpix5-85f", "clk_pad K23 rx R26 tx R24 led_open_n R21 led_fault_n T23"),
    ("tang-nano-9k", "clk_pad 52 rx 18 tx 17 led_open_n 10 led_fault_n 11"),
    ("tang-nano-20k", "clk_pad 4 rx 70 tx 69 led_open_n 15 led_fault_n 16"),
])
def test_pins(name, pins):
    board = boards.find(name)
    text = board.constraints(board)
    words = re.sub(r'-pullup yes|set_io|LOCATE COMP|SITE|IO_LOC|["; ]+|^(IOBUF|IO_PORT|FREQ).*', " ", text, flags=re.M).split()
    assert " ".join(words) == pins
    assert re.search(r'-pullup yes rx|PORT "rx" .*PULL_?MODE=UP', text)


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


def every_gowin_setting(oscillator_hz, ranges):
    """Output frequencies of all settings that the data sheet allows."""
    for idiv in range(1, 65):
        for fbdiv in range(1, 65):
            for odiv in (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128):
                out = Fraction(oscillator_hz, idiv) * fbdiv
                if all(lo <= hz <= hi for hz, (lo, hi) in ((Fraction(oscillator_hz, idiv), ranges.compare_hz),
                                                           (out * odiv, ranges.vco_hz), (out, ranges.output_hz))):
                    yield out


@pytest.mark.parametrize("device", gowin.RANGES)
@pytest.mark.parametrize("oscillator_hz", [27_000_000, 24_000_000, 50_000_000])
def test_gowin_pll_is_the_best(device, oscillator_hz):
    """Against all settings, for random frequencies."""
    ranges = gowin.RANGES[device]
    possible = sorted(set(every_gowin_setting(oscillator_hz, ranges)))
    rng = random.Random(f"{device} {oscillator_hz}")
    for hz in [27_000_000, 54_000_000, *(rng.randrange(4_000_000, 600_000_000) for _ in range(200))]:
        best = max((out for out in possible if out <= hz), default=0)
        if best < 0.95 * hz:
            with pytest.raises(BoardError):
                gowin.pll(oscillator_hz, hz, ranges)
            continue
        setting = gowin.pll(oscillator_hz, hz, ranges)
        out = Fraction(oscillator_hz, setting.input_div) * setting.feedback_div
        assert out == best and setting.hz == pytest.approx(float(out)) and setting.output_div in gowin.OUTPUT_DIVIDERS
        assert ranges.vco_hz[0] <= out * setting.output_div <= ranges.vco_hz[1]
        assert ranges.compare_hz[0] <= Fraction(oscillator_hz, setting.input_div) <= ranges.compare_hz[1]


def test_gowin_pll_in_the_verilog():
    """The cell has the divisions of the setting: 27 MHz * 2, and 54 MHz * 8 inside."""
    for name, device in (("tang-nano-9k", "GW1NR-9C"), ("tang-nano-20k", "GW2AR-18C")):
        board = boards.find(name)
        text = board.verilog(identity(54_000_000))
        setting = gowin.pll(27_000_000, 54_000_000, gowin.RANGES[board.device])
        assert (setting.input_div, setting.feedback_div) == (1, 2)
        for parameter, value in {"IDIV_SEL": 0, "FBDIV_SEL": 1, "ODIV_SEL": setting.output_div}.items():
            assert int(re.search(rf"\.{parameter}\(32'[sd]+(\d+)\)", text)[1]) == value
        assert '.FCLKIN("27")' in text and f'.DEVICE("{device}")' in text


@functools.cache
def every_ice40_setting(oscillator_hz):
    return sorted({Fraction(oscillator_hz, divr + 1) * (divf + 1) / 2**divq for divr in range(16) for divf in range(128)
                   for divq in range(1, 7) if 10e6 <= Fraction(oscillator_hz, divr + 1) <= 133e6
                   and 533e6 <= Fraction(oscillator_hz, divr + 1) * (divf + 1) <= 1066e6})


@functools.cache
def every_ecp5_setting(oscillator_hz):
    return sorted({Fraction(oscillator_hz * b, a * c) for a in range(1, 129) if 10e6 <= Fraction(oscillator_hz, a) <= 400e6
                   for b in range(1, 129) if 400e6 <= Fraction(oscillator_hz * b, a) <= 800e6 for c in range(1, 129)})


@settings(deadline=None)
@given(hz=st.integers(16_200_000, 250_000_000) | st.integers(16_200_000, 16_600_000),
       oscillator_hz=st.sampled_from([12_000_000, 25_000_000]))
def test_ice40_and_ecp5_pll_are_the_best(oscillator_hz, hz):
    """Against all settings that the data sheets allow."""
    for family, possible in ((ice40, every_ice40_setting(oscillator_hz)), (ecp5, every_ecp5_setting(oscillator_hz))):
        best = possible[bisect.bisect_right(possible, hz) - 1]
        assert family.pll(oscillator_hz, hz).hz == pytest.approx(float(best), rel=1e-12)


@pytest.mark.parametrize("find, oscillator_hz, hz, message", [
    (ice40.pll, 12_000_000, 1_000_000, "a clock of 1 MHz cannot be made from 12 MHz; the PLL gives 16 to 275 MHz"),
    (ecp5.pll, 25_000_000, 1_000_000, "a clock of 1 MHz cannot be made from 25 MHz; the PLL gives 3.125 to 400 MHz"),
    (ecp5.pll, 25_000_000, 500_000_000,
     "a clock of 500 MHz cannot be made from 25 MHz; the PLL gives 3.125 to 400 MHz, next 400 MHz"),
    (lambda *hz: gowin.pll(*hz, gowin.RANGES["gw1nr-9"]), 27_000_000, 700_000_000,
     "a clock of 700 MHz cannot be made from 27 MHz; the PLL gives 3.125 to 600 MHz, next 594 MHz"),
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
    with pytest.raises(BoardError, match="^unknown board 'arduino'; known are icebreaker, icestick, hx8k, .*, tang-nano-20k$"):
        boards.find("arduino")


def test_identity_fits_the_protocol():
    packed = identity(30_000_000).pack()
    assert protocol.Identity.unpack(packed) == identity(30_000_000)


@pytest.mark.parametrize("name, ending, arguments", [("icebreaker", ".bin", ["-b", "ice40_generic"]),
                                                     ("ulx3s-85f", ".bit", ["-b", "ulx3s"]),
                                                     ("tang-nano-20k", ".fs", ["-b", "tangnano20k"])])
def test_flash_and_rate(tmp_path, name, ending, arguments):
    """A build folder says which file the board's programmer gets, and how fast its serial line is."""
    (tmp_path / "report.json").write_text(json.dumps({"model": {"name": "net", "network_sha256": "0" * 64},
                                                      "board": {"name": name}}))
    for other in (".bin", ".bit", ".fs"):
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
