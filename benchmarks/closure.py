"""What registers in the units do for the clock: routed rates before and after, median of 3 seeds.

    python benchmarks/closure.py             runs what the result file lacks, row by row: it may be broken off
    python benchmarks/closure.py --write     writes the table of docs/timing.md

"before" is without any of them; the layers are between shift registers, without a board.
"""

import json

from page import run_or_write
from routed import digest, routed
from table import RESULTS, publish, versions

FILE = RESULTS / "closure.json"
DENSE = "dense n_in=256 n_out=64 pe=8 simd=32 memory=bram"
POOL = "sumpool size=13 channels=48 kernel=3 bits=8 lanes=4 depth=400"
CASES = (
    (DENSE, "up5k", ("", "registers=2", "registers=2 slices=1")),
    (DENSE, "ecp5-25f", ("", "registers=2", "registers=2 slices=1")),
    (DENSE, "gw1nr-9", ("", "registers=2")),
    (DENSE, "hx8k", ("", "registers=2")),
    (POOL, "ecp5-25f", ("", "slices=1")),
)
TOOLS = ("yosys", "nextpnr-ice40", "nextpnr-ecp5", "nextpnr-himbaechel-gowin")


def rows_of():
    return json.loads(FILE.read_text())["rows"] if FILE.exists() else []


def run():
    """Measure what is not yet recorded."""
    rows = rows_of()
    done = {(row["device"], row["design"], row["more"]) for row in rows}
    for design, device, pipelines in CASES:
        for more in pipelines:
            if (device, design, more) not in done:
                line = f"{design} {more}".strip()
                rows.append({"device": device, "design": design, "more": more, "verilog": digest(line, device)}
                            | routed(line, device))
                publish("closure", rows, versions(*TOOLS))


def page(rows):
    """The table: cells, flip-flops and MHz of each design, before and with more registers."""
    found = {(row["design"], row["device"], row["more"]): row for row in rows}
    lines = ["| design | device | registers | cells | flip-flops | MHz, median of 3 | gain |\n", "|" + "---|" * 7 + "\n"]
    for (design, device, more), own in found.items():
        gain = f"{100 * (own['fmax_mhz'] / found[design, device, '']['fmax_mhz'] - 1):+.0f} %" if more else ""
        lines.append(f"| `{design}` | {device} | {more and f'`{more}`' or 'before'} | {own['cells']:,} | {own['ffs']:,} | "
                     f"{own['fmax_mhz']:.1f} | {gain} |\n")
    return "".join(lines)


if __name__ == "__main__":
    run_or_write(__doc__, "timing.md", "closure.py", lambda: page(rows_of()), run)
