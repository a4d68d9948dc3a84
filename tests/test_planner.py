"""The planner on real networks: costs, goals, limits, explanations."""

import dataclasses
import importlib
import itertools
import json
import math
import random
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bnnhw import boards, estimate, folding, models
from bnnhw.devices import DEVICES
from bnnhw.estimate.figures import Parts, evaluate
from bnnhw.lower import lower
from bnnhw.plan import Plan, PlanError
from bnnhw.planner import goals
from bnnhw.planner.goals import MARGIN, Planner, has_estimates
from bnnhw.planner.search import Limits, unlimited
from bnnhw.planner.tables import BLOCK_CELLS, FORK_WORDS, WIDEST_TABLE, branch_words, buffer_words, candidates, choices_of
from bnnhw.stages.base import BufferOptions

from .networks import dense_network, networks
from .topologies import random_network

ROOT = Path(__file__).parent.parent
UP5K, ECP5 = DEVICES["up5k"], DEVICES["ecp5-25f"]
CLOCK_HZ = 24_000_000
TFC = dense_network([64, 64, 64, 10], (28, 28, 1))


def planner(network=TFC, device=UP5K, *, scores=False, board=None, clock_hz=CLOCK_HZ, **changed):
    device = dataclasses.replace(device, **changed)
    return Planner(lower(network, scores=scores), device, clock_hz, board, fabric=device.family)


def everything(problem, most):
    """All designs' (interval, luts, brams), where they are at most so many."""
    assume(math.prod(len(step.choices) for step in problem.steps) <= most)
    for chosen in itertools.product(*(step.choices for step in problem.steps)):
        own = {step.name: choice for step, choice in zip(problem.steps, chosen, strict=True)}
        yield max(choice.cycles for choice in chosen), *problem.cost(own)


@settings(max_examples=15, deadline=None)
@given(network=networks(max_width=3), share=st.floats(0, 1.2), brams=st.integers(0, 6), interval=st.integers(1, 60))
def test_real_networks_exhaustively(network, share, brams, interval):
    """The fastest that fits, the least area for a rate, and what comes nearest to fitting."""
    own = planner(network, luts=10_000, brams=brams)
    found = list(everything(own.problem, 20_000))
    least, most = min(luts for _, luts, _ in found), max(luts for _, luts, _ in found)
    limits = Limits(int(least + share * (most - least)), brams)
    own.limits = limits, limits
    fitting = [(cycles, limits.area(luts, used)) for cycles, luts, used in found if luts <= limits.luts and used <= brams]
    if not fitting:
        with pytest.raises(PlanError, match="^the network does not fit up5k: what comes nearest takes "):
            own.fastest()
        return
    design = own.fastest()
    assert (design.interval, limits.area(design.luts, design.brams)) == min(fitting)
    quick = [area for cycles, area in fitting if cycles <= interval]
    if quick:
        design = own.at(CLOCK_HZ / interval)
        assert design.interval <= interval and limits.area(design.luts, design.brams) == min(quick)
    else:
        with pytest.raises(PlanError):
            own.at(CLOCK_HZ / interval)


@pytest.mark.parametrize("seed", range(12))
def test_costs_are_those_of_the_plan(seed):
    """What the search adds up is the estimate of a plan whose buffers are as deep as the planner takes them to be."""
    network, rng = random_network(seed), random.Random(seed)
    stages = lower(network)
    own = Planner(stages, ECP5, CLOCK_HZ, fabric=None)
    waits = branch_words(stages)
    for _ in range(5):
        chosen = {step.name: rng.choice(step.choices) for step in own.problem.steps}
        options, fifos = {}, {}
        for stage in stages:
            options[stage.name] = mine = chosen[stage.name].options
            if isinstance(mine, BufferOptions):
                options[stage.name] = mine.model_copy(update={"depth": buffer_words(stage, mine)})
        shape = Plan(network, stages, options, CLOCK_HZ)
        for element in shape.shape:
            if len(element.streams) > 1:
                parts = waits[element.sources[0]]
                for stream, part in zip(element.streams, parts, strict=True):
                    fifos[stream] = math.ceil(part * element.words_out) + FORK_WORDS if part else 0
        plan = dataclasses.replace(shape, fifos=fifos)
        luts, brams = own.problem.cost(chosen)
        whole = estimate.of_plan(plan, ECP5)
        assert brams == whole.brams
        fixed = evaluate(Parts().add(design=1), ECP5).luts
        assert 0 <= luts - (whole.luts - fixed) <= len(plan.elements) + 1      # rounded up one by one


def test_only_paths_that_fit_the_clock():
    """Where a stage has any; else its shortest."""
    for clock_hz in (10e6, 30e6, 200e6):
        problem = planner(clock_hz=clock_hz).problem
        for step in problem.steps:
            folded = [choice for choice in step.choices if not hasattr(choice.options, "fabric")]
            paths = {choice.path_ns for choice in folded}
            assert not paths or max(paths) <= 1e9 / clock_hz or len(paths) == 1
    assert len(planner(clock_hz=10e6).problem.steps[1].choices) > len(planner(clock_hz=50e6).problem.steps[1].choices)


@pytest.mark.parametrize("device, goal_hz, slices", [("up5k", 60e6, False), ("ecp5-25f", 160e6, True)])
def test_registers_where_the_clock_needs_them(device, goal_hz, slices):
    """None at a usual clock; at a fast one as few as make the path short enough, and never a path that is longer for them."""
    device = DEVICES[device]
    slow, fast = (Planner(lower(TFC), device, CLOCK_HZ, fabric=device.family, register_ns=ns).problem
                  for ns in (1e9 / CLOCK_HZ, 1e9 / goal_hz))
    more = 0
    for before, after in zip(slow.steps, fast.steps, strict=True):
        for own, other in zip(before.choices, after.choices, strict=True):
            if isinstance(own.options, BufferOptions):
                assert own.options.registers == 0 and not own.options.slices
                assert other.options.model_copy(update={"registers": 0, "slices": False}) == own.options
                assert other.path_ns < own.path_ns or other == own
                more += other.options.registers > 0
                assert slices or not other.options.slices
    assert more
    assert any(choice.options.slices for step in fast.steps for choice in step.choices
               if isinstance(choice.options, BufferOptions)) == slices


def test_circuits_of_constants():
    stage = lower(TFC)[1]
    assert {getattr(options, "style", "") for options in candidates(stage, None, CLOCK_HZ)} == {"folded"}
    unfolded = [options for options in candidates(stage, "ecp5", 60_000_000) if options.style == "unfolded"]
    assert [(options.fabric, options.depth) for options in unfolded] == [("ecp5", 3)]


@pytest.mark.parametrize("device, layer, blocks", [
    ("ecp5-85f", 1, [12]), ("ecp5-85f", 2, [1]), ("ecp5-45f", 1, []), ("ecp5-45f", 2, [1]), ("gw2a-18", 1, [1]),
    ("up5k", 1, [1])])
def test_large_layers_of_constants_are_in_blocks(device, layer, blocks):
    """On an ECP5: of 784x64 weights twelve of some 1,500 cells, and none where they take more than a third of the device."""
    stage, device = lower(TFC)[layer], DEVICES[device]
    found = [choice for choice in choices_of(stage, device, device.family, clock_hz=60e6, path_ns=50, register_ns=50)
             if choice.options.style == "unfolded"]
    assert [choice.options.blocks for choice in found] == blocks
    assert all(1_000 < choice.luts / choice.options.blocks <= BLOCK_CELLS for choice in found if choice.options.blocks > 1)


def test_weights_in_logic_are_not_too_wide():
    stage = lower(TFC)[1]
    for options in candidates(stage, None, CLOCK_HZ):
        assert options.memory == "bram" or options.pe * options.simd <= WIDEST_TABLE or (options.pe, options.simd) == (64, 784)


def test_within_the_margin():
    own = planner()
    design = own.fastest()
    assert design.luts <= MARGIN * UP5K.luts and design.brams <= UP5K.brams
    # Where that is not enough it is the least area, whatever the rate.
    fewest = unlimited(own.problem, own.problem.intervals[-1], lambda luts, brams: luts + 10**6 * max(0, brams - UP5K.brams))
    tight = planner(luts=int(fewest.luts / 0.9))
    assert tight.fastest() == tight.at(1)
    assert MARGIN * tight.device.luts < tight.fastest().luts <= tight.device.luts


def test_more_room_is_never_slower():
    rates = [planner(luts=luts, brams=brams).fastest().interval for luts, brams in
             ((3000, 24), (3000, 30), (4000, 30), (5280, 30), (20_000, 30), (20_000, 200))]
    assert rates == sorted(rates, reverse=True) and rates[0] > rates[-1]


def test_a_board_takes_room():
    board = boards.find("icebreaker")
    assert planner(board=board).fastest().interval >= planner().fastest().interval
    chosen = planner().at(1000).chosen
    (luts, brams), (luts_alone, brams_alone) = (planner(board=own).problem.cost(chosen) for own in (board, None))
    plan = SimpleNamespace(input_lanes=chosen["binarize"].want, element_bytes=1, result_beats=1, bytes_per_beat=1)
    wrapper = estimate.of_wrapper(board, plan)
    assert brams - brams_alone == wrapper.brams > 0 and abs(luts - luts_alone - wrapper.luts) <= 1


def test_usual_rate():
    """100,000 images per second where they fit, else as many as fit."""
    assert folding.usual_fps(lower(TFC), CLOCK_HZ) == 100_000
    assert planner().usual(100_000) == planner().at(100_000)
    small = planner(luts=2200)
    assert small.usual(100_000) == small.fastest() and small.fastest().interval > 240


SFC = dense_network([256, 256, 256, 10], (28, 28, 1))


NEEDED = (r"what comes nearest takes [\d,]+ cells and \d+ block RAMs?, and there are 5,280 and 30; layer 'fc\d' alone takes "
          r"[\d,]+ (cell|block RAM)s?")


@pytest.mark.parametrize("network, fps, message", [
    (SFC, None, f"the network does not fit up5k: {NEEDED}; the smallest device that would do is [\\w-]+"),
    (TFC, 400_000, f"400,000 images/s do not fit up5k: {NEEDED}; at most [\\d,]+ images/s fit; the smallest device that would do "
                   "is [\\w-]+"),
    (TFC, 48e6, "48,000,000 images/s at 24 MHz: at most one image per cycle is possible"),
    (TFC, 12e6, "layer 'class': 2 cycles per image are not enough: it takes at least 10"),
])
def test_refusals(network, fps, message):
    own = planner(network)
    own.problem.steps[-1] = dataclasses.replace(own.problem.steps[-1], choices=own.problem.steps[-1].choices[:1])
    with pytest.raises(PlanError, match=f"^{message}$"):
        own.at(fps) if fps else own.fastest()


def test_the_smallest_device_is_one(monkeypatch):
    """It does, and none with fewer cells does."""
    own = planner(SFC)
    fitting = {device.name for device in DEVICES.values() if has_estimates(device) and device.luts < 25_000 and (
        design := _tried(planner(SFC, device))) and design.luts <= MARGIN * device.luts}
    smallest = own.smallest(own.problem.intervals[-1])
    assert smallest in fitting and DEVICES[smallest].luts == min(DEVICES[name].luts for name in fitting)
    monkeypatch.setattr(goals, "DEVICES", {name: DEVICES[name] for name in ("up5k", "hx1k", "xc7a100t")})
    assert own.smallest(own.problem.intervals[-1]) is None
    with pytest.raises(PlanError, match="; no device that bnnhw knows would do$"):
        own.fastest()


def _tried(own):
    try:
        return own.fastest()
    except PlanError:
        return None


def test_explanation():
    own = planner()
    design = own.fastest()
    text = own.explain(design)
    found = re.fullmatch(
        r"layers? (.*) sets? the interval, ([\d,]+) cycles; the next faster design has ([\d,]+) \(([\d,]+) images/s\) and takes "
        r"([\d,]+) cells and (\d+) block RAMs instead of ([\d,]+) cells and (\d+) block RAMs: (.*) too many", text)
    names, *numbers, missing = found.groups()
    cycles, faster, fps, luts, brams, luts_now, brams_now = (int(number.replace(",", "")) for number in numbers)
    assert sorted(re.findall("'(.*?)'", names)) == sorted(name for name, own in design.chosen.items() if own.cycles == cycles)
    assert (cycles, luts_now, brams_now) == (design.interval, design.luts, design.brams)
    asked = max(interval for interval in own.problem.intervals if interval < cycles)
    # What is cheapest at the next interval may be faster still.
    assert faster == unlimited(own.problem, asked, own.limits[0].crowding).interval <= asked and fps == round(CLOCK_HZ / faster)
    limits = own.limits[0]
    expected = [f"{count:,} {what}{'' if count == 1 else 's'}" for count, what in (
        (luts - limits.luts, "cell"), (brams - limits.brams, "block RAM")) if count > 0]
    assert missing == " and ".join(expected)
    # With room for what is missing, it is what comes out.
    more = planner(luts=math.ceil(luts / MARGIN), brams=max(brams, UP5K.brams)).fastest()
    assert more.interval <= faster


def test_explanation_where_it_would_fit():
    own = planner()
    assert re.search(r": it would fit$", own.explain(own.at(1000)))


def test_explanation_of_the_fastest():
    own = planner(dense_network([2], (2, 2, 1)))
    assert re.fullmatch(r"layers? .* the interval, 1 cycle, the least that this network can have", own.explain(own.fastest()))


def test_choose_keeps_its_promise():
    for fps in (None, 3_000, 150_000, folding.AS_FAST_AS_FITS):
        found = folding.choose(TFC, planner(), fps=fps)
        whole = estimate.of_plan(found.plan, UP5K)
        assert found.plan.cycles_per_inference == found.design.interval
        assert abs(found.design.luts - whole.luts) <= 0.02 * whole.luts and found.design.brams == whole.brams
        assert found.plan.core_fps >= (fps or 100_000) or fps == folding.AS_FAST_AS_FITS
        assert str(found) == found.planner.explain(found.design)


@pytest.mark.parametrize("fabric", [None, "ice40", "ecp5", "gowin", "xc7"])
def test_without_a_device(fabric):
    """Any fabric, those without estimates, too."""
    plan = folding.fold(TFC, lower(TFC), clock_hz=CLOCK_HZ, fps=100_000, fabric=fabric)
    assert plan.core_fps >= 100_000


def test_what_buffers_take_is_looked_at(monkeypatch):
    """Where the estimate of the whole plan is more than the search thought, the search has less room."""
    real = estimate.of_plan
    before = folding.choose(TFC, planner(), fps=folding.AS_FAST_AS_FITS)
    more = estimate.Estimate(luts=MARGIN * UP5K.luts - real(before.plan, UP5K).luts + 1)
    monkeypatch.setattr(estimate, "of_plan", lambda plan, device: real(plan, device) + more)
    after = folding.choose(TFC, planner(), fps=folding.AS_FAST_AS_FITS)
    whole = estimate.of_plan(after.plan, UP5K)
    assert whole.luts <= MARGIN * UP5K.luts and whole.brams <= UP5K.brams
    assert after.design.luts < before.design.luts
    monkeypatch.setattr(estimate, "of_plan", lambda plan, device: estimate.Estimate(luts=1e6))
    with pytest.raises(PlanError):
        folding.choose(TFC, planner(), fps=1000)


SMALL = dense_network([32, 24, 10], (14, 14, 1))


@pytest.mark.parametrize("cycles", [150, 300, 700])
def test_latency(cycles):
    """It is kept to the cycle, and a shorter one takes no less."""
    found = folding.choose(SMALL, planner(SMALL), latency=cycles / CLOCK_HZ)
    assert found.plan.latency_cycles <= cycles
    longer = folding.choose(SMALL, planner(SMALL), latency=2 * cycles / CLOCK_HZ)
    assert found.planner.area(found.design) >= longer.planner.area(longer.design)


def test_explanation_of_a_latency():
    """What it is of what was asked for, and no other interval's design."""
    found = folding.choose(SMALL, planner(SMALL), latency=300 / CLOCK_HZ)
    said = re.fullmatch(r"latency (\d+) cycles \(([\d.]+) us\) of 300 asked for; layers? (.*) sets? the interval, (\d+) "
                        r"cycles", str(found))
    latency, micros, names, longest = said.groups()
    assert int(latency) == found.plan.latency_cycles and micros == f"{1e6 * int(latency) / CLOCK_HZ:.2f}"
    slowest = [name for name, choice in found.design.chosen.items() if choice.cycles == int(longest)]
    assert int(longest) == max(choice.cycles for choice in found.design.chosen.values())
    assert re.findall("'(.*?)'", names) == slowest


def test_latency_takes_less_area_than_a_rate_that_gives_it():
    """Each layer as slow as the sum allows, not all equally slow."""
    found = folding.choose(SMALL, planner(SMALL), latency=300 / CLOCK_HZ)
    for interval in (60, 70, 80, 98, 120):
        even = folding.choose(SMALL, planner(SMALL), fps=CLOCK_HZ / interval)
        assert even.plan.latency_cycles > 300 or found.planner.area(found.design) <= even.planner.area(even.design)


def test_latency_of_a_convolution():
    network = models.load("mnist-cnn-small").network
    found = folding.choose(network, planner(network, ECP5), latency=12_000 / CLOCK_HZ)
    assert 8_000 < found.plan.latency_cycles <= 12_000


def test_no_such_latency():
    fastest = folding.choose(SMALL, planner(SMALL), fps=folding.AS_FAST_AS_FITS).plan.latency_cycles
    for cycles in (0, 2, 20):
        with pytest.raises(PlanError, match=(
                rf"^no plan for up5k has a latency of {cycles} cycles \([\d.]+ us\); the shortest that was found is (\d+) cycles "
                rf"\([\d.]+ us\)$")) as found:
            folding.choose(SMALL, planner(SMALL), latency=(cycles + 0.5) / CLOCK_HZ)
        assert cycles < int(re.search(r"(\d+) cycles \([\d.]+ us\)$", str(found.value))[1]) <= fastest
    nothing = Planner(lower(models.load("mnist-cnn").network), DEVICES["hx1k"], CLOCK_HZ, fabric="ice40")
    with pytest.raises(PlanError, match="does not fit hx1k: .* the smallest device that would do is up5k$"):
        folding.choose(models.load("mnist-cnn").network, nothing, latency=1e-6)


def test_unfolded_as_the_page_says(monkeypatch, tmp_path):
    """docs/baked.md, TFC on a ULX3S-85F: the more images per second, the more layers are circuits of constants."""
    monkeypatch.setenv("BNNHW_CACHE", str(tmp_path))
    board = boards.find("ulx3s-85f")
    own = planner(models.load("mnist-tfc").network, DEVICES["ecp5-85f"], board=board, clock_hz=60_000_000)
    page = (ROOT / "docs" / "baked.md").read_text()
    first, three, four = map(int, re.search(r"first layer from (\d+) cycles per image down, the first three from (\d+), all four "
                                            r"from (\d+) \(by estimates", page).groups())
    for interval, layers in ((first + 1, 0), (first, 1), (three + 1, 1), (three, 3), (four + 1, 3), (four, 4)):
        chosen = own.at(own.clock_hz / interval).chosen
        unfolded = [name for name, choice in chosen.items() if getattr(choice.options, "style", "") == "unfolded"]
        assert unfolded == ["fc1", "fc2", "fc3", "fc4"][:layers], interval


@pytest.fixture
def benchmark(monkeypatch, tmp_path):
    """benchmarks/planner.py, without what earlier commands have synthesized."""
    monkeypatch.setenv("BNNHW_CACHE", str(tmp_path))
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("planner")


def kept_rows():
    return json.loads((ROOT / "benchmarks" / "results" / "planner.json").read_text())["rows"]


def test_never_slower_than_greedy():
    assert all(row["fits"] == "no" or row["ratio"] is None or row["ratio"] >= 1 for row in kept_rows())


@pytest.mark.parametrize("name", [name if name in ("mnist-tfc", "mnist-lut4") else pytest.param(name, marks=pytest.mark.slow)
                                  for name in (*models.names(), "finn-cnv")])
def test_the_results_are_todays(benchmark, name):
    kept = [row | {"search_s": None} for row in kept_rows() if row["network"] == name]
    assert kept == [row | {"search_s": None} for row in benchmark.rows_of(name)]
