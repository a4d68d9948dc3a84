"""report.json and the one table of a build."""

from rich.table import Table

__all__ = ["describe", "layers", "table"]


def layers(plan):
    """The report's ``layers``: name, kind, folding, cycles of each stage."""
    return [{"name": stage.name, "kind": stage.kind, "folding": plan.options[stage.name].model_dump(exclude={"kind"}),
             "cycles": stage.cycles(plan.options[stage.name])} for stage in plan.stages]


def describe(plan, artifact, *, name, verilog_sha256, board=None):
    """The plain JSON values of a build, before verification and place and route add theirs.

    Keys: ``model`` (name, network_sha256, classes, provenance), ``verilog_sha256``, ``result``, ``layers`` (name, kind, folding,
    cycles), ``buffers`` and ``fifos`` (kind and depths of the buffers of branches), ``cycles_per_inference``,
    ``latency_cycles``, ``clock_hz``, ``core_fps``, ``link_fps`` (None without a board), ``board``, ``verified`` and ``device``
    (None until known).
    """
    return {
        "model": {"name": name, "network_sha256": plan.network.digest, "classes": list(artifact.classes),
                  "provenance": artifact.provenance},
        "verilog_sha256": verilog_sha256,
        "result": plan.stages[-1].kind,
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
    }


def _folding(layer):
    return ", ".join(f"{key} {value}" for key, value in layer["folding"].items()) or "-"


def table(report):
    """The essentials of ``report`` as one rich table."""
    found = Table(title=f"{report['model']['name']} ({report['model']['network_sha256'][:12]})", title_justify="left",
                  box=None, pad_edge=False, show_header=True)
    for column in ("layer", "kind", "folding"):
        found.add_column(column)
    found.add_column("cycles", justify="right")
    for layer in report["layers"]:
        mark = " *" if layer["name"] == report["bottleneck"] else ""
        found.add_row(layer["name"], layer["kind"], _folding(layer), f"{layer['cycles']:,}{mark}")
    found.add_section()

    def line(what, value):
        found.add_row(what, "", value, "")
    line("interval", f"{report['cycles_per_inference']:,} cycles per image, latency {report['latency_cycles']:,} cycles")
    line("core rate", f"{report['core_fps']:,.0f} images/s at {report['clock_hz'] / 1e6:g} MHz")
    if report["fifos"]:
        depths = ", ".join(f"{stream} {depth}" for stream, depth in report["fifos"].items() if depth)
        line("branch buffers", f"{report['buffers']}: {depths or 'register slices'}")
    if report["link_fps"] is not None:
        line("link rate", f"{int(report['link_fps']):,} images/s over {report['board']['link']}")
    if verified := report["verified"]:
        right = f", {verified['right']} of them classified right" if verified["right"] is not None else ""
        line("verified", f"{verified['images']:,} images in {verified['level']}, "
                         f"{verified['mismatches']} mismatches{right}")
    if device := report["device"]:
        line("device", f"{device['device']}: {device['luts']:,} of {device['luts_limit']:,} cells, {device['ffs']:,} flip-flops, "
                       f"{device['brams']} of {device['brams_limit']} block RAMs")
        line("clock", f"{device['fmax_hz'] / 1e6:.2f} MHz after routing, {device['clock_hz'] / 1e6:g} MHz needed")
    if netlist := report.get("netlist"):
        line("netlist", f"{netlist['images']:,} images in the synthesized netlist, {netlist['mismatches']} mismatches")
    return found
