"""What `bnnhw explore` says of boards by estimates, without routing."""

import re

import pytest

from bnnhw import boards, cli, explore, models
from bnnhw.devices import DEVICES
from bnnhw.estimate import circuits
from bnnhw.lower import lower
from bnnhw.planner.goals import Planner
from bnnhw.tools import ToolError, ToolMissing

from .networks import dense_network

TFC, SFC = (dense_network([width] * 3 + [10], (28, 28, 1)) for width in (64, 256))


def test_explore():
    stages = lower(TFC)
    rows = [explore.explore(stages, boards.find(name)) for name in ("icebreaker", "ulx3s-25f")]
    assert [row["board"] for row in rows] == ["icebreaker", "ulx3s-25f"] and not any(row["why"] for row in rows)
    for row in rows:
        device = DEVICES[row["device"]]
        own = Planner(stages, device, row["clock_hz"], boards.find(row["board"]), fabric=device.family)
        design = own.fastest()
        assert (row["cycles"], row["cells"], row["brams"]) == (design.interval, design.luts, design.brams)
        assert row["images_per_s"] == row["clock_hz"] / row["cycles"] and row["explanation"] == own.explain(design)
    least = explore.explore(stages, boards.find("icebreaker"), fps=5_000)
    assert least["images_per_s"] >= 5_000 and least["cells"] < rows[0]["cells"]


@pytest.fixture
def made(monkeypatch, tmp_path):
    """The devices for which circuits are synthesized; nothing is, really, and what is kept is kept apart."""
    found = []

    def packed(text, top, device):
        found.append(device.name)
        return {"luts": 3000 + len(found), "ffs": 700, "brams": 0}
    monkeypatch.setattr(circuits, "packed", packed)
    monkeypatch.setenv("BNNHW_CACHE", str(tmp_path))
    return found


def test_explore_exact(made):
    """Circuits of constants are synthesized until the design has none that are estimated, and not again for another board with
    the same grade of device."""
    stages = lower(models.load("mnist-lut4").network)
    board, large, other = map(boards.find, ("icebreaker", "ulx3s-12f", "ulx3s-25f"))
    rule = explore.explore(stages, board)
    assert not made
    row = explore.explore(stages, board, exact=True)
    assert set(made) == {"up5k"} and row["cells"] != rule["cells"]
    assert explore.explore(stages, board)["cells"] == row["cells"]      # from now on
    once = len(made)
    first = explore.explore(stages, large, exact=True)
    assert set(made[once:]) == {"ecp5-12f"}
    del made[:]
    assert explore.explore(stages, other, exact=True)["cells"] == first["cells"]
    assert explore.explore(stages, board, exact=True) == row and not made


@pytest.mark.parametrize("error", [ToolError("yosys failed"), ToolMissing("there is no yosys")])
def test_a_circuit_that_cannot_be_synthesized(error, made, monkeypatch, capsys):
    """It is estimated, the reason is said, other boards go on, and the exit status is 1."""
    right = circuits.packed

    def breaks(text, top, device):
        if device.family == "ice40":
            raise error
        return right(text, top, device)
    monkeypatch.setattr(circuits, "packed", breaks)
    stages, board = lower(models.load("mnist-lut4").network), boards.find("icebreaker")
    row = explore.explore(stages, board, exact=True)
    assert row == explore.explore(stages, board) | {"unsynthesized": str(error)}
    assert cli.main(["explore", "mnist-lut4", "--boards", "icebreaker,ulx3s-25f", "--exact"]) == 1
    assert f"; estimated all the same: {error}\n" in capsys.readouterr().out and set(made) == {"ecp5-12f"}
    assert cli.main(["explore", "mnist-lut4", "--boards", "ulx3s-25f", "--exact"]) == 0


def test_a_folder_that_cannot_be_written_is_said_first(made, monkeypatch):
    monkeypatch.setenv("BNNHW_CACHE", "/dev/null/cache")
    with pytest.raises(OSError, match="/dev/null/cache"):
        explore.explore(lower(models.load("mnist-lut4").network), boards.find("icebreaker"), exact=True)
    assert not made


def test_explore_says_why_not(monkeypatch):
    row = explore.explore(lower(SFC), boards.find("icebreaker"))
    assert row["why"].startswith("the network does not fit up5k: what comes nearest takes ") and row["cycles"] is None
    monkeypatch.setattr(explore, "has_estimates", lambda device: False)
    assert explore.explore(lower(SFC), boards.find("icebreaker"))["why"] == "there are no estimates for this device"


def test_explore_as_a_command(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert cli.main(["explore", "mnist-tfc", "--boards", "icebreaker,ulx3s-25f"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert not any("\u2026" in line for line in lines)
    assert lines[0].startswith("mnist-tfc, by estimates, in 85% of the cells")
    assert lines[1].split() == "board MHz images/s cycles cells RAMs at most MHz".split()
    assert re.match(r"icebreaker +30 +[\d,]+ +\d+ +[\d,]+ / 5,280 +\d+ / 30 +[\d.]+$", lines[2])
    assert lines[3].startswith("ulx3s-25f ") and lines[4].startswith("icebreaker: layer")
    assert cli.main(["explore", "mnist-tfc", "--boards", "ulx3s-25f,ulx3s-12f"]) == 0
    assert capsys.readouterr().out.splitlines()[4].startswith("ulx3s-25f, ulx3s-12f: layer")
    assert cli.main(["explore", "mnist-sfc", "--boards", "icebreaker"]) == 0
    assert "\nicebreaker: no: the network does not fit up5k" in capsys.readouterr().out
    for arguments in (["--boards", "arduino"], ["--fps", "0"], ["--exact", "--route"]):
        with pytest.raises(SystemExit) as exit_:
            cli.main(["explore", *arguments])
        assert exit_.value.code == 2
    assert "--exact is for estimates, --route synthesizes everything" in capsys.readouterr().err
