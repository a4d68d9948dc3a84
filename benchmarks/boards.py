"""Shipped networks on the boards that they fit: placed and routed, simulated, every figure read back.

    python benchmarks/boards.py              # what benchmarks/results/boards.json lacks: hours, it may be broken off
    python benchmarks/boards.py WORDS        # these again: a regular expression of `NETWORK BOARD OPTIONS`
    python benchmarks/boards.py --write      # the table of docs/boards.md

Every shipped network on every board, as ``bnnhw build`` plans it, and some at a rate of images per second. ``core_images_per_s``
is the simulated interval at the board's clock; ``core_images_per_s_at_fmax`` the same at the routed maximum. Seconds are of the
whole build command with 1,000 images through the Verilog and 20 through the netlist, or 100 and 5 of the networks in
:data:`LONG`, whose netlists are slow to simulate. Routing that takes more than :data:`LIMIT_MINUTES` is
ended, and the row says so. ``of_revision`` is the commit that was built, ``verilog`` the digest of the network's Verilog; columns
that end in ``_estimated`` are what the planner expects of the whole design, layers of constants by its rule, as they are where
`bnnhw explore --exact` has not run. A test (the slow ones: all rows) finds rows of which that is different today.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from page import DOCS, insert
from table import RESULTS, digest_of, save, versions

from bnnhw import boards, devices, estimate, implement, models, planfile
from bnnhw.estimate.figures import whole
from bnnhw.lower import lower

PICKED = (      # the README's
    ("mnist-tfc", "icebreaker", []), ("mnist-tfc", "icebreaker", ["--fps", "130000"]),
    ("mnist-tfc", "icebreaker", ["--fps", "max"]),
    ("mnist-sfc", "icebreaker", ["--fps", "5000"]),
    ("mnist-cnn-small", "icebreaker", []),
    ("mnist-sfc", "ulx3s-25f", []), ("mnist-cnn", "ulx3s-25f", []), ("mnist-cnn", "ulx3s-85f", ["--fps", "9000"]),
    ("mnist-tfc", "hx8k", []), ("mnist-tfc", "orangecrab", []), ("mnist-tfc", "colorlight-i5", []),
    ("mnist-tfc", "tang-nano-9k", []), ("mnist-tfc", "tang-nano-20k", []), ("mnist-cnn-small", "tang-nano-9k", []),
)
FASTEST = tuple(("mnist-tfc", board, ["--fps", "max"]) for board in (
    "hx8k", "ulx3s-25f", "ulx3s-45f", "tang-nano-9k", "tang-nano-20k"))
LONG = {"cifar10-cnv-narrow": ("100", "5"), "fashion-cnn": ("100", "5"), "fashion-residual": ("100", "5")}
LIMIT_MINUTES = 10
UNENDED = f"not routed after {LIMIT_MINUTES} minutes"
FILE = RESULTS / "boards.json"
PLANNED = ("verilog", "cells_estimated", "block_rams_estimated", "fmax_mhz_estimated")
FIGURES = ("cells", "cells_limit", "block_rams", "block_rams_limit", "fmax_mhz", "clock_mhz", "cycles_per_image",
           "core_images_per_s", "core_images_per_s_at_fmax", "link_images_per_s", "latency_us", "images", "right")
TOOLS = ("yosys", "nextpnr-ice40", "nextpnr-ecp5", "nextpnr-himbaechel-gowin", "verilator")


def cases():
    """(network, board, options) of all rows, the README's first."""
    pairs = [(name, board, []) for board in boards.names() for name in models.names()]
    return [*PICKED, *(pair for pair in pairs if pair not in PICKED), *FASTEST]


def key(network, board, options):
    return f"{network} {board} {' '.join(options)}".strip()


def ended(command):
    """(exit status, last line on standard error) of a command whose routing is given :data:`LIMIT_MINUTES`."""
    done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                          env=os.environ | {implement.LIMIT_SETTING: str(LIMIT_MINUTES)})
    return done.returncode, (done.stderr.strip().splitlines() or [""])[-1]


def build_command(network, board, options, folder):
    """The build of a case, with scores but for networks of lookup tables, into ``folder``: Verilog only."""
    return [sys.executable, "-m", "bnnhw.build", network, "--board", board, *(() if "lut" in network else ("--scores",)),
            *options, "-o", str(folder)]


def of_folder(folder, network, board):
    """What a build folder's row has before any tool runs: the digest of its Verilog, and what is estimated of its plan."""
    plan = planfile.loads(Path(folder, "plan.toml").read_bytes(), models.load(network).network, lower)
    board = boards.find(board)
    device = devices.find(board.device)
    found = whole([estimate.of_plan(plan, device), estimate.of_wrapper(board, plan)], device)
    return {"verilog": digest_of(Path(folder, f"{network}.v").read_text()), "cells_estimated": round(found.luts),
            "block_rams_estimated": found.brams, "fmax_mhz_estimated": round(found.fmax_hz / 1e6, 2)}


def today(network, board, options):
    """The same of a case as this code plans and writes it, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(build_command(network, board, options, f"{folder}/out"), check=True, stdout=subprocess.DEVNULL)
        return of_folder(Path(folder, "out"), network, board)


def row(model, board, extra):
    with tempfile.TemporaryDirectory() as folder:
        images, netlist_images = LONG.get(model, ("1000", "20"))
        start = time.perf_counter()
        status, complaint = ended([*build_command(model, board, extra, f"{folder}/out"),
                                   "--verify", images, "--bitstream", "--verify-netlist", netlist_images])
        seconds = time.perf_counter() - start
        revision = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True).stdout.strip()
        what = {"network": model, "board": board, "options": " ".join(extra), "of_revision": revision}
        if status:
            return what | dict.fromkeys(PLANNED) | {"fits": complaint} | dict.fromkeys(FIGURES) | {"build_s": round(seconds, 1)}
        facts = json.loads(Path(folder, "out", "report.json").read_text())
        what |= of_folder(Path(folder, "out"), model, board)
    device, verified = facts["device"], facts["verified"]
    return what | {
        "fits": "yes", "cells": device["luts"], "cells_limit": device["luts_limit"],
        "block_rams": device["brams"], "block_rams_limit": device["brams_limit"],
        "fmax_mhz": round(device["fmax_hz"] / 1e6, 2),
        "clock_mhz": facts["clock_hz"] / 1e6, "cycles_per_image": verified["interval_cycles"],
        "core_images_per_s": round(facts["clock_hz"] / verified["interval_cycles"]),
        "core_images_per_s_at_fmax": round(device["fmax_hz"] / verified["interval_cycles"]),
        "link_images_per_s": int(facts["link_fps"]), "latency_us": round(verified["latency_cycles"] / facts["clock_hz"] * 1e6, 1),
        "images": verified["images"], "right": verified["right"], "build_s": round(seconds, 1)}


def table(rows):
    """The rows as a Markdown table."""
    lines = ["| network | board | cells | block RAMs | clock (routed max.) | cycles per image | images/s (at routed max.) "
             "| latency | right | build |", "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"]
    for r in sorted((r for r in rows if r["fits"] == "yes"), key=lambda r: (r["network"], boards.names().index(r["board"]))):
        what = f"{r['network']} {r['options']}".strip()
        lines.append(f"| {what} | {r['board']} | {r['cells']:,} of {r['cells_limit']:,} "
                     f"| {r['block_rams']} of {r['block_rams_limit']} | {r['clock_mhz']:g} MHz ({r['fmax_mhz']:.1f}) "
                     f"| {r['cycles_per_image']:,} | {r['core_images_per_s']:,} ({r['core_images_per_s_at_fmax']:,}) "
                     f"| {r['latency_us']} us | {r['right']} of {r['images']:,} | {r['build_s']:.0f} s |")
    unended, others = ([r for r in rows if r["fits"] != "yes" and (UNENDED in r["fits"]) == own] for own in (True, False))
    lines += ["", f"{len(rows)} of {len(cases())} pairs were tried; {len(others)} of them are refused: {listed(others)}."]
    if unended:
        lines += ["", f"{UNENDED[0].upper()}{UNENDED[1:]}: {listed(unended)}."]
    lines += ["", *estimated(rows)]
    return "\n".join(lines) + "\n"


def estimated(rows):
    """How far from the routed figures the planner's are."""
    routed = [r for r in rows if r["fits"] == "yes"]
    yield (f"What the planner had expected of these {len(routed)} designs, link and PLL included: block RAMs equal in "
           f"{sum(r['block_rams_estimated'] == r['block_rams'] for r in routed)};")
    for what, key, limit in (("cells", "cells", 10), ("clock that routing reaches", "fmax_mhz", 20)):
        errors = {f"{r['network']} {r['options']}".strip() + f" on {r['board']}": 100 * (r[f"{key}_estimated"] / r[key] - 1)
                  for r in routed}
        worst = max(errors, key=lambda name: abs(errors[name]))
        yield (f"{what}: {sum(abs(error) <= limit for error in errors.values())} of {len(errors)} within {limit} %, half of them "
               f"within {statistics.median(map(abs, errors.values())):.1f} %, the worst is {errors[worst]:+.0f} % ({worst})"
               f"{';' if key == 'cells' else '.'}")


def listed(rows):
    """Networks, each with its boards."""
    where = {}
    for r in rows:
        where.setdefault(f"{r['network']} {r['options']}".strip(), []).append(r["board"])
    return "; ".join(f"{network} on {', '.join(found)}" for network, found in sorted(where.items())) or "none"


def main(arguments):
    rows = json.loads(FILE.read_text())["rows"] if FILE.exists() else []
    if arguments == ["--write"]:
        insert(DOCS / "boards.md", "boards.py", f"\n{table(rows)}\n")
        return
    del sys.argv[1:]        # the file names the command that makes all of it
    found = {key(row["network"], row["board"], row["options"].split()): row for row in rows}
    for case in cases():
        if re.search(arguments[0], key(*case)) if arguments else key(*case) not in found:
            found[key(*case)] = new = row(*case)
            save("boards", [found[key(*own)] for own in cases() if key(*own) in found], versions(*TOOLS))
            reached = f"{new['fmax_mhz']} MHz in {new['build_s']:.0f} s" if new["fits"] == "yes" else new["fits"]
            print(f"{key(*case)}: {reached}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
