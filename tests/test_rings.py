"""How full buffers get: what a simulation reads from registers of the Verilog, beside what the timing models say."""
import dataclasses

import pytest

from bnnhw import accelerator, schedule
from bnnhw.rings import Ring, rings
from bnnhw.simulator import SimulationError, Simulator, encode

from .test_topologies import random_plan
from .topologies import inputs, random_network

SEEDS = (4, 22)             # of topologies that have buffers of every kind, branches among them


def simulator_of(plan):
    return Simulator.of_plan(plan, accelerator.verilog(plan), taps=accelerator.taps(plan), optimize="-O0")


def holder(element, model, ring):
    """The part of an element's timing model that is the ring, and what it calls its free places."""
    if ring.kind == "branch":
        return model.branches[element.streams.index(ring.name)], "free"
    buffer = getattr(model.first, "first", model.first)        # a slice may stand behind it
    return buffer, "room" if ring.kind == "window" else "free"


def modelled(plan, frames):
    """{ring: the most words that its timing model ever held}."""
    least = {ring.name: ring.depth for ring in rings(plan)}

    def watched(element, mine):
        def timing():
            model = element.timing()
            for ring in mine:
                part, key = holder(element, model, ring)
                assert getattr(part, key) == ring.depth

                def step(push, pop, part=part, key=key, ring=ring, inner=part.step):
                    inner(push, pop)
                    least[ring.name] = min(least[ring.name], getattr(part, key))
                part.step = step
            return model
        return timing
    elements = []
    for element in plan.framed:
        mine = [ring for ring in rings(plan) if ring.module.split(".")[0] == element.name]
        elements.append(dataclasses.replace(element, timing=watched(element, mine)) if mine else element)
    schedule.run(elements, plan.beats, plan.result_beats, frames)
    return {ring.name: ring.depth - least[ring.name] for ring in rings(plan)}


@pytest.fixture(scope="module", params=SEEDS)
def case(request):
    network = random_network(request.param)
    plan = random_plan(network, request.param)
    return network, plan, simulator_of(plan)


def test_peaks(case):
    """Equal to the models', word by word; with stalls another fill, but never more than fits."""
    network, plan, simulator = case
    frames = encode(network, inputs(network, 2 * plan.schedule.frames + 4))
    found = simulator.run(frames).peaks
    assert found == modelled(plan, len(frames))
    assert found and all(0 < found[ring.name] <= ring.depth for ring in rings(plan))
    stalled = simulator.run(frames, p_valid=0.9, p_ready=0.05, seed=3).peaks
    assert all(found[ring.name] <= ring.depth for ring in rings(plan)) and stalled.keys() == found.keys()


def test_seeds_have_every_kind():
    kinds = {ring.kind for seed in SEEDS for ring in rings(random_plan(random_network(seed), seed))}
    assert kinds == {"window", "vector", "branch"}


def test_a_buffer_that_is_not_there(case):
    _, plan, simulator = case
    wrong = Ring("nowhere", "window", "nowhere.window", "room", 4, 1)
    own = Simulator.of_plan(plan, simulator.verilog, optimize="-O0")
    own.rings = (wrong,)
    own.program = simulator.program
    with pytest.raises(SimulationError, match=r"there is no register room:bnnhw_top\.core\.nowhere\.window"):
        own.run(encode(plan.network, inputs(plan.network, 1)))
