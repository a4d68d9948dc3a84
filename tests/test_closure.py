"""`--clock auto`: the fastest clock that routed timing supports."""
import dataclasses
import json
from types import SimpleNamespace

import pytest

from bnnhw import artifact, boards, build, closure, devices, folding, implement
from bnnhw.artifact import Artifact
from bnnhw.bitstream import ClockMissed
from bnnhw.boards import BoardError
from bnnhw.cli import main
from bnnhw.estimate import whole
from bnnhw.estimate.figures import constants, speed
from bnnhw.lower import lower

from .networks import dense_network

QUIET = SimpleNamespace(say=lambda text: None, progress=None)
NETWORK = dense_network([8, 6, 3], (4, 4, 1), seed=5)


def planned(hz, fps=1000):
    return folding.fold(NETWORK, lower(NETWORK), clock_hz=hz, fps=fps)


@pytest.mark.parametrize("name", boards.names())
def test_fastest_clock(name):
    """At most the limit, made again where it is asked for, and no clock of the board lies between."""
    board = boards.find(name)
    for limit in (board.clock_hz, 31.7e6, 46.46e6, 58_333_333.4, 87.1e6, 123_456_789):
        found = board.fastest_hz(limit)
        assert isinstance(found, int) and 0.9 * limit < found < limit + 1
        assert board.whole_hz(found) == found and board.divisor(found)
        for ninth in range(10):
            made = board.whole_hz(max(found, limit - (limit - found) * ninth / 9))
            if made > found:
                with pytest.raises(BoardError, match="the serial line would be "):
                    board.divisor(made)
    assert board.fastest_hz(board.clock_hz) == board.clock_hz


def test_clock_between_two_settings():
    """175/3 MHz is no whole number of Hz: what a board says of its clock must lead its PLL to the same setting again."""
    board = boards.find("ulx3s-25f")
    assert board.whole_hz(58_333_334) == 58_333_334 and board.clock(board, 58_333_334) == pytest.approx(175e6 / 3)


def test_too_slow_for_the_board():
    with pytest.raises(BoardError, match=r"^a clock of 9 MHz cannot be made from 12 MHz; the PLL gives 16 to 275 MHz"):
        boards.find("icebreaker").fastest_hz(9e6)


class Router:
    """Stands for yosys and nextpnr: the designs that are built reach ``reached`` Hz, one after the other."""
    def __init__(self, *reached):
        self.reached, self.built = list(reached), []

    def build(self, plan, rounds):
        fmax = self.reached.pop(0)
        self.built.append(plan)
        if fmax < plan.clock_hz:
            raise ClockMissed(plan.clock_hz, fmax)
        return {"plan": plan, "fmax_hz": fmax, "rounds": list(rounds)}


def close(first, reached_hz, router):
    return closure.close(first, boards.find("icebreaker"), reached_hz=reached_hz, replan=planned, build=router.build,
                         narrator=QUIET)


def test_rebuilt_once():
    first, router = planned(30_000_000, fps=2_000_000), Router(51e6)
    found = close(first, 50.1e6, router)
    assert found["plan"].clock_hz == 49_500_000 and len(router.built) == 1
    assert found["rounds"] == [{"clock_hz": 30_000_000, "fmax_hz": 50.1e6, "interval": first.cycles_per_inference}]
    assert found["plan"].cycles_per_inference > first.cycles_per_inference       # planned anew


def test_rebuilt_slower():
    """The first design missed even the board's usual clock."""
    assert close(planned(30_000_000), 27.4e6, Router(28e6))["plan"].clock_hz == 27_375_000


def test_steps_down():
    """Each design that misses its clock is built again for what it has reached, folded as it was."""
    router = Router(47.2e6, 44e6, 44e6)
    found = close(planned(30_000_000, fps=200_000), 50.1e6, router)
    assert [plan.clock_hz for plan in router.built] == [49_500_000, 46_500_000, 43_500_000]
    assert all(plan.options == router.built[0].options for plan in router.built)
    assert [tried["fmax_hz"] for tried in found["rounds"]] == [50.1e6, 47.2e6, 44e6]
    assert found["fmax_hz"] >= found["plan"].clock_hz


def test_back_to_the_first():
    first, router = planned(30_000_000, fps=200_000), Router(48e6, 45e6, 41e6, 50.1e6)
    found = close(first, 50.1e6, router)
    assert found["plan"] is first and len(found["rounds"]) == 4 and len(router.built) == 4


def test_nothing_meets_its_clock():
    with pytest.raises(ClockMissed, match=r"^the clock is missed: 22.875 MHz are needed, 3 placements reach at most 20.00 MHz"):
        close(planned(30_000_000), 29e6, Router(25e6, 23e6, 20e6))


class Full(Router):
    """The device has no place for any design but those for 30 MHz."""
    def build(self, plan, rounds):
        if plan.clock_hz != 30_000_000:
            raise implement.ImplementError("the design does not fit")
        return super().build(plan, rounds)


def test_no_room_at_the_faster_clock():
    assert close(planned(30_000_000), 50.1e6, Full(50.1e6))["plan"].clock_hz == 30_000_000
    with pytest.raises(implement.ImplementError, match="^the design does not fit$"):
        close(planned(30_000_000), 29e6, Full())


def test_every_board_has_its_delays():
    """Fitted, of tables in a row, and as a goal; a faster grade's are shorter."""
    own = {speed(devices.find(boards.find(name).device)) for name in boards.names()}
    assert own == set(constants()["path_ns"]) == set(whole.LEVEL_NS) == set(whole.SMALL_LEVEL_NS) == set(closure.GOALS_HZ)
    for slow, fast in (("ecp5-6", "ecp5-8"), ("ecp5-8", "ecp5-5g")):
        slow_ns, fast_ns = (constants()["path_ns"][grade] for grade in (slow, fast))
        assert all(fast_ns[name] < slow_ns[name] for name in ("bram", "carry", "counting", "levels", "path", "placing"))
        assert all(table[fast] < table[slow] for table in (whole.LEVEL_NS, whole.SMALL_LEVEL_NS))
        assert closure.GOALS_HZ[fast] > closure.GOALS_HZ[slow]


def test_command(tmp_path, monkeypatch, capsys):
    """The whole command, with a router that says what it likes: files, report and table are those of the last design."""
    artifact.save(tmp_path / "small.bnn", Artifact(NETWORK, ("a", "b", "c")))
    reached = iter([50.1e6, 47.2e6, 46.6e6])
    seen = []

    def make_bitstream(plan, source, folder, board, *, netlist_images=0, dataset=None, narrator):
        fmax = next(reached)
        seen.append((plan.clock_hz, netlist_images))
        if fmax < plan.clock_hz:
            raise ClockMissed(plan.clock_hz, fmax)
        figures = implement.Implementation("up5k", 1000, 5280, 500, 5280, 3, 30, fmax, plan.clock_hz, 1)
        return {"device": dataclasses.asdict(figures)}
    monkeypatch.setattr(closure, "make_bitstream", make_bitstream)
    monkeypatch.setitem(build.build.__kwdefaults__, "make", make_bitstream)
    monkeypatch.setattr(build, "_tools", lambda *_, **__: [])
    main(["build", str(tmp_path / "small.bnn"), "--board", "icebreaker", "--bitstream", "--clock", "auto", "-o",
          str(tmp_path / "out")])
    facts = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [clock for clock, _ in seen] == [30_000_000, 49_500_000, 46_500_000] and facts["clock_hz"] == 46_500_000
    assert [tried["clock_hz"] for tried in facts["rounds"]] == [30_000_000, 49_500_000]
    assert 'clock_hz = 46500000' in (tmp_path / "out" / "plan.toml").read_text()
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    said = capsys.readouterr()
    assert "50.10 MHz after routing, folded for 30 MHz" in said.out and "46.60 MHz after routing, 46.5 MHz needed" in said.out
    assert "the same folding at 46.5 MHz" in said.err


def test_unwritable_folder(tmp_path, monkeypatch, capsys):
    """It is refused before anything is routed, not after."""
    artifact.save(tmp_path / "small.bnn", Artifact(NETWORK, ("a", "b", "c")))
    monkeypatch.setattr(closure, "make_bitstream", None)
    assert main(["build", str(tmp_path / "small.bnn"), "--board", "icebreaker", "--bitstream", "--clock", "auto", "-o",
                 "/proc/out"]) == 1
    assert "error: /proc: it cannot be written: " in capsys.readouterr().err


@pytest.mark.slow
def test_routed(tmp_path, capsys):
    """The real tools: faster than the board's usual clock, and its routing meets it."""
    artifact.save(tmp_path / "small.bnn", Artifact(NETWORK, ("a", "b", "c")))
    main(["build", str(tmp_path / "small.bnn"), "--board", "icebreaker", "--scores", "--bitstream", "--verify-netlist", "12",
          "--clock", "auto", "-o", str(tmp_path / "out")])
    facts = json.loads((tmp_path / "out" / "report.json").read_text())
    assert facts["device"]["fmax_hz"] >= facts["clock_hz"] == facts["device"]["clock_hz"] > 30_000_000
    assert facts["rounds"][0]["clock_hz"] == 30_000_000 and facts["rounds"][0]["fmax_hz"] >= facts["clock_hz"]
    assert facts["netlist"]["mismatches"] == 0 and (tmp_path / "out" / "small.bin").exists()
