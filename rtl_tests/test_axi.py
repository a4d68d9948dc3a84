# amaranth: UnusedElaboratable=no
"""The Verilog that ships, under cocotb: an accelerator and the AXI4-Stream wrapper around another core."""
import contextlib
import json

import numpy as np
import pytest
from amaranth.back import verilog as amaranth_verilog
from cocotb_tools.runner import get_results, get_runner

from bnnhw import accelerator, folding, reference, tools
from bnnhw.lower import lower
from bnnhw.simulator import encode
from tests import axi_cores, networks

SEED = 1


def packets(frames, lanes, evaluate, seed=0):
    """Packets for the cases: the frames, then short and long ones made of them.

    ``evaluate`` gives the result's values of whole frames, a list for each.
    """
    rng = np.random.default_rng(seed)
    size, beats = frames.shape[1], frames.shape[1] // lanes
    lengths = [*range(1, beats)][:6] + [beats - 1] * (beats > 7) + [beats + 1, beats + 2, 2 * beats, 3 * beats + 1]
    wrong = [np.resize(frames[rng.integers(len(frames))], length * lanes) for length in lengths]
    made = np.array([np.append(packet, np.zeros(size, np.uint8))[:size] for packet in [*frames, *wrong]])
    return [{"bytes": packet.tolist(), "values": values, "error": len(packet) != size}
            for packet, values in zip([*frames, *wrong], evaluate(made), strict=True)]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Function that runs all cases on a Verilog text; gives (passed, failed)."""
    for name, value in tools.find("verilator").environment.items():
        monkeypatch.setenv(name, value)

    def run(verilog, cases):
        (tmp_path / "cases.json").write_text(json.dumps(cases))
        (tmp_path / "top.v").write_text(verilog)
        runner = get_runner("verilator")
        runner.build(sources=[tmp_path / "top.v"], hdl_toplevel=accelerator.TOP, build_dir=tmp_path,
                     build_args=["-Wno-lint", "-Wno-style"])     # lint of yosys' output is noise
        with contextlib.suppress(SystemExit):       # how it says that cases failed
            runner.test(test_module="rtl_tests.axi_cases", hdl_toplevel=accelerator.TOP, build_dir=tmp_path,
                        test_dir=tmp_path, results_xml=str(tmp_path / "results.xml"), seed=SEED,
                        extra_env={"BNNHW_CASES": str(tmp_path / "cases.json")})
        total, failed = get_results(tmp_path / "results.xml")
        return total - failed, failed
    return run


def network_cases(scores):
    network = networks.dense_network((9, 6, 5), (4, 3, 1), affine=True, seed=11)
    plan = folding.fold(network, lower(network, scores=scores), clock_hz=24_000, fps=1000)
    frames = encode(network, networks.images(network, 24))

    def evaluate(frames):
        edges = reference.run(network, frames.reshape(-1, 4, 3, 1), keep=["scaled", "class"])
        return [[*(s if scores else []), c] for s, c in zip(edges["scaled"].tolist(), edges["class"].tolist(), strict=True)]
    return accelerator.verilog(plan), {
        "packets": packets(frames, plan.input_lanes, evaluate), "whole": len(frames), "lanes": plan.input_lanes,
        "frame_bytes": frames.shape[1], "bytes_per_beat": plan.bytes_per_beat, "interval": plan.cycles_per_inference,
        "latency": plan.latency_cycles,
    }


def sum_cases(lanes, beats):
    frames = np.random.default_rng(1).integers(0, 256, (24, lanes * beats)).astype(np.uint8)
    top = axi_cores.sum_core_top(lanes, beats)
    return amaranth_verilog.convert(top, name=accelerator.TOP, emit_src=False), {
        "packets": packets(frames, lanes, lambda made: [axi_cores.sums(frame, lanes) for frame in made.tolist()]),
        "whole": len(frames), "lanes": lanes, "frame_bytes": lanes * beats, "bytes_per_beat": 1,
        "interval": max(beats, lanes + 1), "latency": beats + lanes + 3,
    }


CASES = 10


@pytest.mark.parametrize("scores", [True, False], ids=["scores", "class"])
def test_network(run, scores):
    assert run(*network_cases(scores)) == (CASES, 0)


@pytest.mark.parametrize("lanes, beats", [(3, 5), (1, 1)])
def test_wrapper(run, lanes, beats):
    assert run(*sum_cases(lanes, beats)) == (CASES, 0)


@pytest.mark.parametrize("old, new, least", [
    (".o__ready(m_axis_tready)", ".o__ready(1'h1)", 3),                     # a dropped ready
    ("rst = ", "rst = 1'h0; wire unused = ", 1),                            # a reset that does nothing
])
def test_broken_wrapper(run, old, new, least):
    verilog, cases = sum_cases(3, 5)
    assert verilog.count(old) == 1
    passed, failed = run(verilog.replace(old, new), cases)
    assert failed >= least
