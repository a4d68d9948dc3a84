"""Synthesis settings of each family, one changed at a time: cells, and the routed rate (median of 3 seeds).

    python benchmarks/settings.py             runs what the result file lacks, row by row: it may be broken off
    python benchmarks/settings.py --write     writes the table of docs/timing.md

A design is routed with the settings that save :data:`PAYS` of its cells or more, and as it is.
``bnnhw/families.py`` has what this led to.
"""

import dataclasses
import json
import tempfile
from pathlib import Path

import designs
from page import run_or_write
from routed import digest, routed
from table import RESULTS, publish, versions

from bnnhw import devices
from bnnhw.estimate.packing import packed
from bnnhw.families import FAMILIES

FILE = RESULTS / "settings.json"
DEVICES = ("up5k", "ecp5-25f", "gw1nr-9")
DESIGNS = (
    "dense n_in=256 n_out=64 pe=8 simd=32 memory=bram",
    "conv size=14 channels=16 n_out=32 kernel=3 pe=8 simd=16 memory=bram pad=1 depth=31",
    "layer mnist-tfc fc4 style=unfolded fabric={family} depth=2", "network mnist-tfc device={device} mhz=24",
)
PAYS = 0.03
AS_IT_IS = "as it is"
# Family -> {what: (option that is taken out, option that comes in)}.
CHANGES = {
    "ice40": {AS_IT_IS: ("", ""), "-dff": ("", "-dff"), "-dffe_min_ce_use 4": ("", "-dffe_min_ce_use 4")},
    "ecp5": {AS_IT_IS: ("", ""), "wide LUTs": (" -nowidelut", ""), "-dff": ("", "-dff"), "-noccu2": ("", "-noccu2"),
             "-cmp2softlogic": ("", "-cmp2softlogic")},
    "gowin": {AS_IT_IS: ("", ""), "wide LUTs": (" -nowidelut", ""), "-noalu": ("", "-noalu")},
}
# yosys 0.70 has no option that goes back to the mapper before abc9: its own commands up to there and after it, and that between.
OLDER_MAPPER = "abc for abc9"
BETWEEN = {
    "ice40": "techmap -map +/ice40/latches_map.v\nabc -dress -lut 4\nice40_wrapcarry -unwrap\n"
             "techmap -map +/ice40/ff_map.v\nclean\nopt_lut -tech ice40",
    "ecp5": "techmap -map +/lattice/latches_map.v\nabc -dress -lut 4\nclean",
    "gowin": "abc -dress -lut 4\nclean",
}
TOOLS = ("yosys", "nextpnr-ice40", "nextpnr-ecp5", "nextpnr-himbaechel-gowin")


def changed(name, setting):
    """The family ``name`` with another synthesis command."""
    usual = FAMILIES[name]
    if setting == OLDER_MAPPER:
        script = (f"hierarchy -top {designs.HARNESS}\n{usual.synthesis} -run :map_luts\n{BETWEEN[name]}\n"
                  f"{usual.synthesis} -run map_cells:")
        return dataclasses.replace(usual, synthesis=script)
    out, more = CHANGES[name][setting]
    assert out in usual.synthesis
    return dataclasses.replace(usual, synthesis=f"{usual.synthesis.replace(out, '')} {more}".strip())


def measured(line, device, setting, route):
    """A row's figures; without the rate where it is not to be routed."""
    usual = FAMILIES[device.family]
    FAMILIES[device.family] = changed(device.family, setting)
    try:
        if route:
            return routed(line, device.name)
        with tempfile.TemporaryDirectory() as folder:
            text, top, _ = designs.verilog_of(line, "", device)
            found = packed(text + designs.harness(text, top), designs.HARNESS, device, folder=Path(folder))
    finally:
        FAMILIES[device.family] = usual
    return {"cells": found["luts"], "ffs": found["ffs"], "block_rams": found["brams"], "fmax_mhz": None,
            **{f"fmax_mhz_seed_{seed}": None for seed in (1, 2, 3)}, "slowest": ""}


def rows_of():
    return json.loads(FILE.read_text())["rows"] if FILE.exists() else []


def key(row):
    return row["device"], row["design"], row["setting"]


def run():
    """Measure what is not yet recorded."""
    rows = rows_of()

    def add(device, line, setting, route):
        found = {key(row): row for row in rows}.get((device.name, line, setting))
        if found is None or route and found["fmax_mhz"] is None:
            rows[:] = [row for row in rows if row is not found]
            rows.append({"device": device.name, "design": line, "setting": setting, "verilog": digest(line, device.name)}
                        | measured(line, device, setting, route))
            publish("settings", rows, versions(*TOOLS))
        return next(row for row in rows if key(row) == (device.name, line, setting))
    for device in map(devices.find, DEVICES):
        settings = [*CHANGES[device.family], OLDER_MAPPER]
        for line in DESIGNS:
            line = line.format(device=device.name, family=device.family)
            found = {setting: add(device, line, setting, False) for setting in settings}
            better = [setting for setting, row in found.items() if row["cells"] <= (1 - PAYS) * found[AS_IT_IS]["cells"]]
            for setting in [AS_IT_IS, *better] if better else []:
                add(device, line, setting, True)


def page(rows):
    """The table: cells and MHz with every setting, against those as it is."""
    usual = {key(row)[:2]: row for row in rows if row["setting"] == AS_IT_IS}

    def against(row, what, style):
        value, same = row[what], usual[key(row)[:2]][what]
        if value is None:
            return " | "
        change = "" if same is None or row["setting"] == AS_IT_IS else f"{100 * (value / same - 1):+.0f} %"
        return f"{value:{style}} | {change}"
    lines = ["| device | design | setting | cells | | MHz, median of 3 | |\n", "|" + "---|" * 7 + "\n"]
    kinds = [line.partition("{")[0] for line in DESIGNS]

    def place(row):
        kind = next(k for k, kind in enumerate(kinds) if row["design"].startswith(kind))
        return DEVICES.index(row["device"]), kind, row["setting"] != AS_IT_IS
    for row in sorted(rows, key=place):
        line = row["design"].partition(" device=")[0]
        lines.append(f"| {row['device']} | `{line}` | {row['setting']} | {against(row, 'cells', ',')} | "
                     f"{against(row, 'fmax_mhz', '.1f')} |\n")
    return "".join(lines)


if __name__ == "__main__":
    run_or_write(__doc__, "timing.md", "settings.py", lambda: page(rows_of()), run)
