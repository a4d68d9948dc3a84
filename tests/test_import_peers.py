"""Networks of other projects in Verilog: every value between the stages against the golden model."""
from pathlib import Path

import pytest

from bnnhw import accelerator, folding, verify
from bnnhw.importers import kinds
from bnnhw.lower import lower

PEERS = Path(__file__).parent.parent.parent / "shared" / "peers"
pytestmark = pytest.mark.skipif(not PEERS.exists(), reason="the networks of other projects are not here")


@pytest.mark.parametrize("source, dataset, images, right", [
    ("qonnx_model_zoo/TFC_1W1A.onnx", "mnist", 1000, 920),
    pytest.param("bnn_pynq/lfcW1A1", "mnist", 1000, 985, marks=pytest.mark.slow),
    pytest.param("bnn_pynq/cnvW1A1", "cifar10", 50, 38, marks=pytest.mark.slow),
])
def test_in_verilog(source, dataset, images, right):
    network = kinds.read(PEERS / source).network
    plan = folding.fold(network, lower(network), clock_hz=30_000_000)
    found = verify.in_verilog(plan, accelerator.verilog(plan), images, dataset=dataset)
    assert (found["images"], found["mismatches"], found["accuracy"]) == (images, 0, right / images)
