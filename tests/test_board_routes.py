"""Every board's whole design, placed, routed and packed around a small network."""
import re
from types import SimpleNamespace

import pytest

from bnnhw import accelerator, bitstream, boards, devices, folding, implement
from bnnhw.lower import lower

from . import networks

QUIET = SimpleNamespace(say=lambda text: None, progress=None)
QUICK = "hx8k"
TOO_SMALL = "icestick"      # for the link
PREAMBLES = {"ice40": b"\x7e\xaa\x99\x7e", "ecp5": b"\xff\xff\xbd\xb3", "gowin": b"11111111"}


def made(board, folder):
    """What :func:`make_bitstream` returns of a small network."""
    network = networks.dense_network([4, 3], (2, 2, 1), seed=5)
    plan = folding.fold(network, lower(network), clock_hz=board.clock_hz, fps=10_000)
    (folder / "net.v").write_text(accelerator.verilog(plan))
    return bitstream.make_bitstream(plan, folder / "net.v", folder, board, narrator=QUIET)


@pytest.mark.parametrize("name", [name if name == QUICK else pytest.param(name, marks=pytest.mark.slow) for name in boards.names()
                                  if name != TOO_SMALL])
def test_route(name, tmp_path):
    board = boards.find(name)
    device = made(board, tmp_path)["device"]
    assert device["device"] == board.device and device["fmax_hz"] >= board.clock_hz == device["clock_hz"]
    assert 500 < device["luts"] < device["luts_limit"] and 0 < device["brams"] < device["brams_limit"]
    packed = (tmp_path / f"net{board.family.bitstream}").read_bytes()
    assert PREAMBLES[devices.find(board.device).family] in packed[:3000]
    found = re.search(r"(ICESTORM_PLL|EHXPLLL|rPLL): *(\d+)/", (tmp_path / "nextpnr.log").read_text())
    assert found[2] == "1"


def test_too_small(tmp_path):
    """The link alone takes more logic cells than the iCEstick has; the error says what a network would."""
    with pytest.raises(implement.ImplementError) as error:
        made(boards.find(TOO_SMALL), tmp_path)
    found = re.match(r"the design does not fit hx1k \(1280 logic cells, 16 block RAMs\): it takes (\d+) logic cells and 3 block "
                     r"RAMs; ERROR: ", str(error.value))
    assert 1280 < int(found[1]) < 2500
