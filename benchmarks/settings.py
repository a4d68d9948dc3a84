"""Synthesis settings of each family, one changed at a time: cells, and the routed rate (median of 3 seeds).

    python benchmarks/settings.py             runs what the result file lacks, row by row: it may be broken off
    python benchmarks/settings.py --write     writes the table of docs/timing.md

``bnnhw/families.py`` has what this led to.
"""

import dataclasses
import json

from page import run_or_write
from routed import routed
from table import RESULTS, publish, versions

from bnnhw import devices
from bnnhw.families import FAMILIES

FILE = RESULTS / "settings.json"
DEVICES = ("up5k", "ecp5-25f", "gw1nr-9")
DESIGN = "dense n_in=256 n_out=64 pe=8 simd=32 memory=bram"
AS_IT_IS = "as it is"
# Family -> {what: (option that is taken out, option that comes in)}.
CHANGES = {
    "ice40": {AS_IT_IS: ("", ""), "-dff": ("", "-dff")},
    "ecp5": {AS_IT_IS: ("", ""), "wide LUTs": (" -nowidelut", ""), "-dff": ("", "-dff")},
    "gowin": {AS_IT_IS: ("", ""), "wide LUTs": (" -nowidelut", ""), "-noalu": ("", "-noalu")},
}
TOOLS = ("yosys", "nextpnr-ice40", "nextpnr-ecp5", "nextpnr-himbaechel-gowin")


def changed(family, out, more):
    """``family`` with another synthesis command."""
    assert out in family.synthesis
    return dataclasses.replace(family, synthesis=f"{family.synthesis.replace(out, '')} {more}".strip())


def rows_of():
    return json.loads(FILE.read_text())["rows"] if FILE.exists() else []


def run():
    """Measure what is not yet recorded."""
    rows = rows_of()
    done = {(row["device"], row["design"], row["setting"]) for row in rows}
    for device in DEVICES:
        name = devices.find(device).family
        for setting, (out, more) in CHANGES[name].items():
            if (device, DESIGN, setting) in done:
                continue
            usual = FAMILIES[name]
            FAMILIES[name] = changed(usual, out, more)
            try:
                found = routed(DESIGN, device)
            finally:
                FAMILIES[name] = usual
            rows.append({"device": device, "design": DESIGN, "setting": setting} | found)
            publish("settings", rows, versions(*TOOLS))


def page(rows):
    """The table: cells and MHz with every setting, against those as it is."""
    usual = {row["device"]: row for row in rows if row["setting"] == AS_IT_IS}
    lines = ["| device | setting | cells | | MHz, median of 3 | |\n", "|" + "---|" * 6 + "\n"]
    for row in rows:
        gains = {key: f"{100 * (row[key] / usual[row['device']][key] - 1):+.0f} %" if row["setting"] != AS_IT_IS else ""
                 for key in ("cells", "fmax_mhz")}
        lines.append(f"| {row['device']} | {row['setting']} | {row['cells']:,} | {gains['cells']} | {row['fmax_mhz']:.1f} | "
                     f"{gains['fmax_mhz']} |\n")
    return "".join(lines)


if __name__ == "__main__":
    run_or_write(__doc__, "timing.md", "settings.py", lambda: page(rows_of()), run)
