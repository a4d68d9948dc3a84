"""docs/interchange.md: what it shows is run as it stands."""
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bnnhw import boards, devices
from bnnhw.importers import onnx_nodes

ROOT = Path(__file__).parent.parent
DOC = (ROOT / "docs" / "interchange.md").read_text()


@pytest.mark.slow
def test_from_a_brevitas_model_to_a_bitstream(tmp_path):
    pytest.importorskip("brevitas", exc_type=ImportError)
    example = DOC.split("## Worked example")[1]
    script = re.search(r"```python\n(.*?)```", example, re.S)[1]
    said = re.search(r"It prints `(.*?)`", example)[1]
    commands = re.search(r"```\n(bnnhw .*?)```", example, re.S)[1].splitlines()
    path = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=path, check=True, stdout=subprocess.PIPE, text=True)
    assert said in done.stdout.splitlines()
    assert len(commands) == 3
    for command in commands:
        subprocess.run(command.split(), cwd=tmp_path, env=path, check=True, stdout=subprocess.DEVNULL)
    assert list((tmp_path / "net").glob("*.bin"))


def test_every_operation_is_in_the_table():
    for name in onnx_nodes.HANDLERS:
        assert re.search(rf"\b{name}\b", DOC), f"{name} is missing"


def test_figures_are_those_of_the_benchmark():
    rows = json.loads((ROOT / "benchmarks" / "results" / "peers.json").read_text())["rows"]
    assert len(rows) == 3
    for row in rows:
        line = next(line for line in DOC.splitlines() if line.startswith(f"| {row['network']} |"))
        assert [cell.strip() for cell in line.split("|")[2:-1]] == [
            f"{row['right_images']:,} of {row['of_images']:,}", f"{row['right_images_published']:,}",
            f"{row['images_in_verilog']:,}, {row['mismatches']}", f"{row['cycles_per_image']:,}"]
        if row["board"]:
            device = devices.find(boards.find(row["board"]).device)
            assert (f"{row['cells']:,} of {device.luts:,} cells, {row['block_rams']} of {device.brams} block RAMs, "
                    f"{row['fmax_mhz']} MHz") in " ".join(DOC.split())
            assert f"{row['core_images_per_s']:,} images/s" in DOC
