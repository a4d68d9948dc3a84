"""The slowest path, from a report as nextpnr writes it."""
from bnnhw.timing_path import slowest, stage_of


def hop(kind, ns, cell, net=None):
    end = {"cell": cell, "loc": [1, 2], "port": "O"}
    return {"type": kind, "delay": ns, "from": end, "to": end} | ({"net": net, "sources": ["somewhere.v:1"]} if net else {})


def path(start, end, *hops):
    return {"from": start, "to": end, "path": list(hops)}


SLOW = [hop("clk-to-q", 1.25, "inner.network.core.fc1.unit.a_DFF"), hop("routing", 2.5, "inner.network.core.fc1.lut", "a"),
        hop("logic", 0.875, "inner.network.core.fc1.lut"), hop("routing", 3.0, "inner.network.core.fc2.b_DFF", "b"),
        hop("setup", 0.1, "inner.network.core.fc2.b_DFF")]


def test_slowest():
    quick = path("posedge clk", "posedge clk", hop("clk-to-q", 1.0, "a"), hop("setup", 0.5, "b"))
    pin = path("posedge clk", "<async>", hop("clk-to-q", 100.0, "a"))
    across = path("posedge clk", "posedge other", hop("clk-to-q", 100.0, "a"))
    found = slowest({"critical_paths": [quick, path("posedge clk", "posedge clk", *SLOW), pin, across]})
    assert found == {"ns": 7.725, "logic_ns": 2.225, "wire_ns": 5.5, "hops": [
        {"kind": "clk-to-q", "ns": 1.25, "cell": "inner.network.core.fc1.unit.a_DFF"},
        {"kind": "routing", "ns": 2.5, "cell": "inner.network.core.fc1.lut"},
        {"kind": "logic", "ns": 0.875, "cell": "inner.network.core.fc1.lut"},
        {"kind": "routing", "ns": 3.0, "cell": "inner.network.core.fc2.b_DFF"},
        {"kind": "setup", "ns": 0.1, "cell": "inner.network.core.fc2.b_DFF"}]}
    assert slowest({"critical_paths": [pin, across]}) is None
    assert slowest({}) is None


def test_stage_of():
    assert stage_of("inner.network.core.fc4.unit.$signal$7_LC") == ("fc4", "unit.$signal$7_LC")
    assert stage_of("core.conv1") == ("conv1", "")
    assert stage_of("inner.link.header_DFF") == (None, "inner.link.header_DFF")
    assert stage_of("score.fc1") == (None, "score.fc1")
