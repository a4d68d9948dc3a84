"""What a page begins with: the verdict, the figures, what limits the rate."""

from .words import SPACE, duration, number, percent

__all__ = ["bottleneck", "figures", "limit", "verdict"]


def _classified(found):
    return f"{found['right']:,} of {found['images']:,} classified right ({percent(found['right'], found['images'])})"


def verdict(report):
    """``good`` (True, or None for unknown), ``title``, ``text``: whether the accelerator computes what the network says."""
    found = report["verified"]
    if not found:
        return {"good": None, "title": "Built, not verified",
                "text": "No image has been simulated in this build, so nothing is said of its exactness. "
                        "bnnhw build --verify 1000 sends images through the hardware description and compares every integer "
                        "with the golden model."}
    inputs = "test images" if found["right"] is not None else "random inputs"
    scores = ", every score" if report["result"] == "scores" else ""
    text = (f"{found['images']:,} {inputs} went through the hardware description in a cycle-accurate simulation. Every "
            f"class{scores} and every hidden value, of {len(found['edges_compared'])} layers, was that of the golden model, "
            "which computes the network in plain integers: no bit differs.")
    if netlist := report.get("netlist"):
        text += f" The synthesized circuit gave the same for {netlist['images']:,} images."
    if found["right"] is not None:
        text += f" {_classified(found)[0].upper()}{_classified(found)[1:]}."
    return {"good": True, "title": "Exact", "text": text}


def limit(report):
    """Cycles per image of the slowest stage."""
    return next(layer["cycles"] for layer in report["layers"] if layer["name"] == report["bottleneck"])


def figures(report):
    """The big figures: list of ``value``, ``unit``, ``name``, ``text``."""
    clock, device, verified = report["clock_hz"], report["device"], report["verified"]
    found = [
        {"name": "Rate", "value": f"{report['core_fps']:,.0f}", "unit": "images/s",
         "text": f"a new image every {number(report['cycles_per_inference'])} clock cycles"
                 + (", confirmed by the simulation" if verified and verified["interval_cycles"] == report["cycles_per_inference"]
                    else "")},
        {"name": "Latency", "value": duration(report["latency_cycles"] / clock).split(SPACE)[0],
         "unit": duration(report["latency_cycles"] / clock).split(SPACE)[1],
         "text": f"{number(report['latency_cycles'])} cycles from an image's first value in to its result out"},
        {"name": "Clock", "value": number(clock / 1e6), "unit": "MHz",
         "text": (f"the routed circuit could run at {number(device['fmax_hz'] / 1e6)} MHz" if device
                  else "chosen, not yet confirmed by place and route")},
    ]
    if device:
        found.append({"name": "Area", "value": f"{device['luts']:,}", "unit": "logic cells",
                      "text": f"{percent(device['luts'], device['luts_limit'])} of {device['device']}, and {device['brams']} of "
                              f"its {device['brams_limit']} block RAMs"})
    if report["link_fps"] is not None:
        found.append({"name": "Link", "value": f"{int(report['link_fps']):,}", "unit": "images/s",
                      "text": f"at most through the board's own link ({report['board']['link']})"})
    if verified and verified["right"] is not None:
        found.append({"name": "Accuracy", "value": percent(verified["right"], verified["images"]).split(SPACE)[0], "unit": "%",
                      "text": f"{verified['right']:,} of the {verified['images']:,} simulated test images"})
    return found


def bottleneck(report):
    """``stages`` (names of the slowest), ``text``: what limits the rate, and what would be next."""
    most, interval = limit(report), report["cycles_per_inference"]
    slowest = [layer["name"] for layer in report["layers"] if layer["cycles"] >= most]
    rest = [layer for layer in report["layers"] if layer["cycles"] < most]
    names = " and ".join([", ".join(slowest[:-1]), slowest[-1]] if len(slowest) > 1 else slowest)
    text = (f"All stages work at the same time, each on another image, so the slowest one sets the pace. Here {names} "
            f"{'each need' if len(slowest) > 1 else 'needs'} {number(most)} cycles per image.")
    if interval > most:
        text += (f" Images follow each other every {number(interval)} cycles, {number(interval - most)} more, because stages "
                 "also wait for each other's words.")
    if report["why"]:
        text += f" By the planner's estimate: {report['why']}."
    elif rest:
        following = max(rest, key=lambda layer: layer["cycles"])
        rate = report["clock_hz"] / following["cycles"]
        text += (f" With more lanes there (pe, simd or lanes in plan.toml), {following['name']} would be the next limit "
                 f"at {number(following['cycles'])} cycles: {rate:,.0f} images/s at most.")
    return {"stages": slowest, "text": text}
