"""The planner's search against trying everything, on random stages and graphs."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw.planner.search import Choice, Front, LastLimits, Limits, Problem, Step, cheapest, exceeded, fastest

LANES = st.sampled_from([1, 2, 3, 4, 6])


@st.composite
def problems(draw):
    """Up to five stages in a chain or with branches, each with up to five choices, converters and forks of random cost."""
    steps = []
    for k in range(draw(st.integers(1, 5))):
        choices = tuple(Choice(f"{k}.{n}", draw(st.integers(1, 9)), draw(LANES), draw(LANES), draw(st.integers(0, 20)),
                               draw(st.integers(0, 4)), draw(st.integers(0, 3))) for n in range(draw(st.integers(1, 5))))
        names = [step.name for step in steps]
        # It takes the one in front of it, which no stage may leave untaken, and perhaps an earlier one (or the same again).
        sources = names[-1:] + ([draw(st.sampled_from(names))] if names and draw(st.booleans()) else [])
        steps.append(Step(f"s{k}", tuple(sources), choices))
    cost = {(a, b): 0 if a == b else draw(st.integers(0, 9)) for a in (1, 2, 3, 4, 6) for b in (1, 2, 3, 4, 6)}
    return Problem(steps, lambda name, port, have, want: cost[have, want], lambda name, give: (give, give // 4),
                   lambda lanes: (lanes, lanes // 3))


def everything(problem):
    """All designs: (interval, delay, luts, brams)."""
    for chosen in itertools.product(*(step.choices for step in problem.steps)):
        own = dict(zip([step.name for step in problem.steps], chosen, strict=True))
        yield max(c.cycles for c in chosen), sum(c.delay for c in chosen), *problem.cost(own)


LIMITS = st.builds(Limits, st.integers(0, 90), st.integers(0, 12))


@settings(max_examples=150, deadline=None)
@given(problem=problems(), limits=LIMITS)
def test_fastest(problem, limits):
    """The least interval that fits, and at it the least area."""
    fitting = [(interval, limits.area(luts, brams)) for interval, _, luts, brams in everything(problem)
               if luts <= limits.luts and brams <= limits.brams]
    found = fastest(problem, limits)
    assert (found is None) == (not fitting)
    if found:
        assert problem.cost(found.chosen) == (found.luts, found.brams)
        assert (found.interval, limits.area(found.luts, found.brams)) == min(fitting)


@settings(max_examples=150, deadline=None)
@given(problem=problems(), limits=LIMITS, interval=st.integers(1, 9))
def test_cheapest(problem, limits, interval):
    fitting = [limits.area(luts, brams) for cycles, _, luts, brams in everything(problem)
               if cycles <= interval and luts <= limits.luts and brams <= limits.brams]
    found = cheapest(problem, limits, interval)
    assert (found is None) == (not fitting)
    if found:
        assert found.interval <= interval and limits.area(found.luts, found.brams) == min(fitting)
        assert problem.cost(found.chosen) == (found.luts, found.brams)


@settings(max_examples=100, deadline=None)
@given(problem=problems(), limits=LIMITS, delay=st.integers(0, 12))
def test_delay_is_limited(problem, limits, delay):
    fitting = [limits.area(luts, brams) for _, own, luts, brams in everything(problem)
               if own <= delay and luts <= limits.luts and brams <= limits.brams]
    found = Front(problem, 9, limits.brams, delay).best(limits)
    assert (found is None) == (not fitting)
    if found:
        assert limits.area(found.luts, found.brams) == min(fitting)
        assert found.delay == sum(choice.delay for choice in found.chosen.values()) <= delay


@settings(max_examples=50, deadline=None)
@given(problem=problems(), limits=LIMITS)
def test_least_crowded(problem, limits):
    """What comes nearest to fitting, for the message where nothing does."""
    costs = [(luts, brams) for _, _, luts, brams in everything(problem)]
    found = Front(problem, 9, max(brams for _, brams in costs)).best(limits, limits.crowding)
    assert limits.crowding(found.luts, found.brams) == min(limits.crowding(*cost) for cost in costs)


@settings(max_examples=150, deadline=None)
@given(problem=problems(), limits=LIMITS, interval=st.integers(1, 9))
def test_what_fits_does_not_exceed(problem, limits, interval):
    if any(cycles <= interval and luts <= limits.luts and brams <= limits.brams
           for cycles, _, luts, brams in everything(problem)):
        assert not exceeded(limits, interval, (step.choices for step in problem.steps))


def one(luts, brams, cycles=1):
    return [Choice("", cycles, 1, 1, luts, brams)]


@pytest.mark.parametrize("stages, asked", [
    ([one(101, 0), one(1, 1)], 1), ([one(1, 11), one(1, 1)], 1), ([one(1, 1, cycles=3), one(1, 1)], 1),
    ([one(60, 0), one(41, 0), one(1, 0)], 2), ([one(1, 6), one(1, 5), one(1, 0)], 2),
    # Either alone would do, but not both: each may have few cells or few block RAMs.
    ([one(90, 1) + one(10, 9), one(90, 1) + one(10, 9), one(0, 0)], None),
    ([one(90, 1) + one(10, 9), one(90, 2) + one(20, 9), one(0, 0)], 2), ([one(95, 0) + one(1, 9), one(95, 0) + one(1, 9)], None),
    ([one(100, 10)], None), ([], None),
])
def test_exceeded(stages, asked):
    """No more stages are asked for than it takes."""
    left = iter(stages)
    found = exceeded(Limits(100, 10), 2, left)
    assert found == (asked is not None) and len(list(left)) == (len(stages) - asked if found else 0)


def test_a_shorter_path_is_taken_where_it_costs_nothing():
    step = Step("s", (), tuple(Choice(k, 1, 1, 1, 5, 1, 0, path) for k, path in enumerate((9.0, 4.0, 7.0))))
    assert fastest(Problem([step], None, None, lambda lanes: (0, 0)), Limits(9, 9)).chosen["s"].path_ns == 4.0


@pytest.mark.parametrize("luts, brams, area, crowding", [(50, 5, 1000, 0.5), (100, 20, 3000, 2.0), (0, 0, 0, 0)])
def test_limits(luts, brams, area, crowding):
    limits = Limits(100, 10)
    assert (limits.area(luts, brams), limits.crowding(luts, brams)) == (area, crowding)
    assert Limits(100, 0).crowding(50, 1) == float("inf")


def test_what_fills_a_device_saves_cells():
    """Where not even the margin fits, block RAMs are spent for a single cell; else both count by their shares."""
    assert LastLimits(100, 10).area(50, 10) < LastLimits(100, 10).area(51, 0)
    assert Limits(100, 10).area(50, 10) > Limits(100, 10).area(51, 0)
