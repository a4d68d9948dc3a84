"""The one table of a build, on the terminal."""

from rich.table import Table

__all__ = ["table"]


USUAL = (("style", "folded"), ("registers", 0), ("slices", False))


def _folding(layer):
    """What decides cycles and memory; plan.toml has the rest."""
    return ", ".join(f"{key} {value}" for key, value in layer["folding"].items()
                     if key != "depth" and (key, value) not in USUAL) or "-"


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
        for tried in report["rounds"] or ():
            line("tried", f"{tried['fmax_hz'] / 1e6:.2f} MHz after routing, folded for {tried['clock_hz'] / 1e6:g} MHz, "
                          f"{tried['interval']:,} cycles per image")
        line("clock", f"{device['fmax_hz'] / 1e6:.2f} MHz after routing, {device['clock_hz'] / 1e6:g} MHz needed")
    if netlist := report.get("netlist"):
        line("netlist", f"{netlist['images']:,} images in the synthesized netlist, {netlist['mismatches']} mismatches")
    return found
