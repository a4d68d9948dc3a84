"""What `bnnhw explore` says of boards by estimates, without routing."""

import re

import pytest

from bnnhw import boards, cli, explore, models
from bnnhw.devices import DEVICES
from bnnhw.lower import lower
from bnnhw.planner.goals import Planner
from bnnhw.tools import ToolError

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


def test_explore_exact(monkeypatch, tmp_path):
    """Circuits of constants are synthesized until the design has none that are estimated, and not again for another board of the
    family; a tool that breaks on one is the reason."""
    from bnnhw.estimate import circuits
    monkeypatch.setenv("BNNHW_CACHE", str(tmp_path))
    made = []

    def packed(text, top, device):
        made.append(device.name)
        return {"luts": 3000 + len(made), "ffs": 700, "brams": 0}
    monkeypatch.setattr(circuits, "packed", packed)
    stages = lower(models.load("mnist-lut4").network)
    board, ecp5 = boards.find("icebreaker"), [boards.find(name) for name in ("ulx3s-25f", "orangecrab")]
    rule = explore.explore(stages, board)
    assert not made
    row = explore.explore(stages, board, exact=True)
    assert set(made) == {"up5k"} and row["cells"] != rule["cells"]
    assert explore.explore(stages, board)["cells"] == row["cells"]      # from now on
    once = len(made)
    found = [explore.explore(stages, board, exact=True) for board in (*ecp5, board)]
    assert not any(row["why"] for row in found) and found[-1] == row
    assert set(made[once:]) == {"ecp5-12f"} and len(made) < 2 * once + 3

    def breaks(*_):
        raise ToolError("yosys failed")
    monkeypatch.setattr(circuits, "packed", breaks)
    assert explore.explore(stages, boards.find("hx8k"), exact=True)["why"] == "yosys failed"


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
