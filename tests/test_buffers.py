"""Buffers of branches: the least that keep the rate, the least that work, in the plan and in the Verilog."""
import dataclasses
import functools

import numpy as np
import pytest
from amaranth.back import verilog

from bnnhw import accelerator, planfile, verify
from bnnhw.buffers import with_buffers
from bnnhw.compare import compare
from bnnhw.folding import fold
from bnnhw.gateware.axi_stream import AxiStreamTop
from bnnhw.ir import Add, ArgMax, Conv2d, Dense, Flatten, Input, Network, TensorType, Threshold
from bnnhw.lower import lower
from bnnhw.plan import PlanError
from bnnhw.simulator import HangError, Simulator, encode

from .topologies import inputs

DEEP = "t0_to_sum"      # the branch that waits while the other one goes through two convolutions


def residual(seed=0):
    """Two convolutions of equal size, and a way round them."""
    rng = np.random.default_rng(seed)

    def conv(name, source):
        return Conv2d(name, source, rng.choice([-1, 1], (4, 3, 3, 4)), padding=(1, 1, 1, 1))

    def signs(name, source):
        return Threshold(name, source, rng.integers(-3, 4, (4, 1)), rng.random(4) < 0.3)
    return Network([
        Input("x", TensorType((6, 5, 4), 0, 15)), signs("t0", "x"), conv("c1", "t0"), signs("t1", "c1"), conv("c2", "t1"),
        Add("sum", "c2", "t0"), signs("t2", "sum"), Flatten("flat", "t2"),
        Dense("fc", "flat", rng.choice([-1, 1], (3, 120))), ArgMax("class", "fc"),
    ], "class")


@functools.cache
def plan_of(kind, seed=0):
    network = residual(seed)
    return fold(network, lower(network), clock_hz=1_000_000, fps=1_200, buffers=kind)


def with_depth(plan, change):
    return dataclasses.replace(plan, fifos=plan.fifos | {DEEP: plan.fifos[DEEP] + change})


def test_rate_is_the_least_for_the_rate():
    plan = plan_of("rate")
    unlimited = dataclasses.replace(plan, fifos=dict.fromkeys(plan.fifos, 10_000))
    assert plan.schedule.interval == unlimited.schedule.interval
    assert plan.fifos["t0_to_c1"] == 0 and plan.fifos[DEEP] > 5
    assert with_depth(plan, -1).schedule.interval > plan.schedule.interval


def test_live_is_the_least_that_works():
    plan = plan_of("live")
    assert plan.fifos[DEEP] > 5 and plan.schedule.interval >= plan_of("rate").schedule.interval
    with pytest.raises(PlanError, match=f"^deadlock: the buffer {DEEP!r} with {plan.fifos[DEEP] - 1} words is full"):
        _ = with_depth(plan, -1).schedule


def simulator_of(plan):
    return Simulator.of_plan(plan, accelerator.verilog(plan), taps=accelerator.taps(plan), optimize="-O0")


@pytest.mark.parametrize("kind, change", [("rate", 0), ("rate", -1), ("live", 0)])
def test_simulation_keeps_the_plan(kind, change):
    """Exact and in the planned cycles, with a buffer that costs some, too; stalls do not matter."""
    plan = with_depth(plan_of(kind), change)
    simulator, x = simulator_of(plan), inputs(plan.network, 2 * plan.schedule.frames + 4)
    result = simulator.run(encode(plan.network, x), taps=True)
    assert compare(plan.network, x, result) == []
    verify.check_timing(plan, result)
    assert (result.interval > plan_of("rate").schedule.interval) == (change < 0 or kind == "live" and
                                                                     plan.schedule.interval > plan_of("rate").schedule.interval)
    for seed, (p_valid, p_ready) in enumerate([(0.05, 1.0), (1.0, 0.02), (0.3, 0.3)]):
        stalled = simulator.run(encode(plan.network, x[:5]), p_valid=p_valid, p_ready=p_ready, seed=seed, taps=True)
        assert compare(plan.network, x[:5], stalled) == []


def test_simulator_names_the_buffer_that_is_too_small():
    plan = with_depth(plan_of("live"), -1)
    top = AxiStreamTop(accelerator.Core(plan), lanes=plan.input_lanes * plan.element_bytes,
                       frame_elements=plan.frame_elements * plan.element_bytes, result_beats=plan.result_beats,
                       bytes_per_beat=plan.bytes_per_beat, frames_in_flight=8)
    simulator = Simulator.of_plan(plan, verilog.convert(top, name=accelerator.TOP, emit_src=False), optimize="-O0")
    with pytest.raises(HangError, match=f"the buffer {DEEP!r} is full, and what would empty it waits for another branch"):
        simulator.run(encode(plan.network, inputs(plan.network, 3)), patience=2000)


def test_timing_does_not_depend_on_the_weights():
    """Two sets of weights and thresholds, two sets of images: the same cycle for every beat."""
    times = []
    for seed in (0, 7):
        plan = dataclasses.replace(plan_of("rate"), network=residual(seed), stages=lower(residual(seed)))
        result = simulator_of(plan).run(encode(plan.network, inputs(plan.network, 8, seed)))
        times.append([values.tolist() for values in (result.first_in, result.last_in, result.first_out, result.last_out)])
    assert times[0] == times[1]


def test_file_keeps_the_depths():
    plan = plan_of("live")
    again = planfile.loads(planfile.dumps(plan), plan.network, lower)
    assert (again.fifos, again.buffers, again.options) == (plan.fifos, "live", plan.options)
    text = planfile.dumps(plan).replace(f"{DEEP} = {plan.fifos[DEEP]}", f"{DEEP} = 77")
    assert planfile.loads(text, plan.network, lower).fifos[DEEP] == 77
    head = text[:text.index("[fifos]")]
    assert planfile.loads(head, plan.network, lower).fifos == plan.fifos
    assert planfile.loads(head + f"[fifos]\n{DEEP} = 77\n", plan.network, lower).fifos == plan.fifos | {DEEP: 77}
    with pytest.raises(PlanError, match=f"^plan: the depth of {DEEP!r} must be an integer from 0 up, not -1$"):
        planfile.loads(text.replace("77", "-1"), plan.network, lower)


def test_unknown_kind():
    with pytest.raises(PlanError, match=r"^buffers must be one of \['rate', 'live'\], not 'big'$"):
        with_buffers(plan_of("rate"), "big")
