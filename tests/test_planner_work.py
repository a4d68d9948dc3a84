"""How much the planner computes: seconds, and what it leaves out where a network does not fit."""

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from bnnhw import boards, models
from bnnhw.devices import DEVICES
from bnnhw.lower import lower
from bnnhw.plan import PlanError
from bnnhw.planner import goals, search
from bnnhw.planner.goals import Planner

SECONDS = 5


@pytest.fixture
def cnv(monkeypatch):
    """FINN's, at full width."""
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    import cnv
    yield cnv.cnv()
    del sys.modules["cnv"]


def seconds(network, device):
    start = time.process_time()
    own = Planner(lower(network), DEVICES[device], 24_000_000, fabric=DEVICES[device].family)
    own.explain(own.fastest())
    return time.process_time() - start


@pytest.mark.parametrize("name", ["cifar10-cnv-narrow", "fashion-residual"])
def test_seconds(name):
    assert seconds(models.load(name).network, "ecp5-25f") < SECONDS


def test_seconds_of_a_full_width_cnv(cnv):
    assert seconds(cnv, "ecp5-85f") < SECONDS


def test_a_refusal(cnv, monkeypatch):
    """Stages are estimated once for a device; of one that is far too small no more stages than show that, and nothing is searched
    there."""
    asked, searched, make = [], [], goals.choices_of

    def counted(stage, device, *rest, **options):
        asked.append((device.name, stage.name))
        return make(stage, device, *rest, **options)

    def begun(front):
        searched.append(front)
        return np.full(front.size, search.NEVER)
    monkeypatch.setattr(goals, "choices_of", counted)
    monkeypatch.setattr(search.Front, "_nothing", begun)
    own = Planner(lower(cnv), DEVICES["up5k"], 30_000_000, boards.find("icebreaker"), fabric="ice40")
    with pytest.raises(PlanError, match="layer 'conv6' alone takes 145 block RAMs; the smallest .* is ecp5-45f$"):
        own.fastest()
    assert len(asked) == len(set(asked))
    stages, whole = {name: sum(device == name for device, _ in asked) for name, _ in asked}, len(own.stages)
    assert stages == {"up5k": whole, "hx1k": 1, "hx8k": 1, "gw1nr-9": 1, "gw2a-18": 2, "ecp5-12f": 3, "ecp5-25f": 3,
                      "ecp5-25f-8": 3, "ecp5-45f": whole}
    assert len({id(front) for front in searched}) == 2      # what comes nearest, and what fits the ECP5-45F
