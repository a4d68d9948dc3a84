"""What sparse networks of lookup tables reach on the 10,000 test images, seed by seed, and what it costs.

    python benchmarks/sparse.py [RECIPE ...] [--seeds N] [--threads N] [--folder DIR]

Runs ``python -m bnnhw.train RECIPE --seed S`` for each recipe and seed. A network that lies in the folder already is taken as it
is, a training that was interrupted is gone on with. The last epoch counts. Each row's network is exact: export compared it
with the trained model on all test images, hidden bits and all. Rows of recipes that are not named stay in the result file.
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
from table import RESULTS, publish, versions

from bnnhw import artifact, datasets, reference

SEEDS = {"mnist-lut4": 5, "mnist-lut4-small": 1, "mnist-lut4-wide": 1, "mnist-lut6": 2, "mnist-lut6-wide": 1,
         "mnist-sparse-xnor": 1, "fashion-lut4": 1}     # how many, from 0


def train(recipe, seed, folder, threads):
    """Train, or go on training, and give the row."""
    output = folder / f"{recipe}-{seed}.bnn"
    side = folder / f"{output.name}.train"
    if not output.exists():
        command = [sys.executable, "-m", "bnnhw.train", recipe, "-o", output, "--seed", str(seed), "--threads", str(threads)]
        subprocess.run(command + ["--resume"] * (side / "checkpoint.safetensors").exists(), check=True)
    found = artifact.load(output)
    facts, settings = found.provenance, found.provenance["recipe"]
    test = datasets.load(facts["dataset"], "test")
    right, total = reference.accuracy(found.network, test.images, test.labels)
    assert (right, total) == (facts["test_right"], facts["test_images"])
    metrics = [json.loads(line) for line in (side / "metrics.jsonl").read_text().splitlines()]
    used = len(np.unique(next(op for op in found.network.operations.values() if op.kind == "Lookup").indices))
    return {"recipe": recipe, "seed": seed, "layers": "-".join(map(str, settings["layers"])), "fan_in": settings["fan_in"],
            "pixel_levels": len(settings["pixel_levels"]), "encoder_bits_used": used,
            "file_bytes": output.stat().st_size, "epochs": len(metrics),
            "train_accuracy_percent": round(100 * metrics[-1]["train_accuracy"], 2), "test_right_images": right,
            "test_accuracy_percent": round(100 * right / total, 2), "score_ties_images": facts["test_ties"],
            "threads": facts["trained_on"]["threads"], "processor_s": round(sum(row["processor_seconds"] for row in metrics)),
            "network": found.network.digest[:12]}


def summed_up(rows):
    """Each row with the mean and the standard deviation of its recipe's seeds."""
    found = []
    for row in rows:
        of_recipe = [other["test_accuracy_percent"] for other in rows if other["recipe"] == row["recipe"]]
        found.append(row | {"mean_of_seeds_percent": round(statistics.mean(of_recipe), 3),
                            "deviation_of_seeds_percent": round(statistics.stdev(of_recipe), 3) if len(of_recipe) > 1 else None})
    return found


def others(recipes):
    """Rows of the result file that are not of ``recipes``."""
    path = RESULTS / "sparse.json"
    return [row for row in json.loads(path.read_text())["rows"] if row["recipe"] not in recipes] if path.exists() else []


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=tuple(SEEDS), metavar="RECIPE")
    parser.add_argument("--seeds", type=int, help="how many, from 0 (default: 5 of mnist-lut4, 2 of mnist-lut6, 1 of others)")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("build/sparse"), help="where they go (default: %(default)s)")
    args = parser.parse_args()
    del sys.argv[1:]        # the file names the command that makes all of it
    runs = [(recipe, seed) for recipe in args.recipes for seed in range(args.seeds or SEEDS[recipe])]
    rows = others(args.recipes) + [train(recipe, seed, args.folder, args.threads) for recipe, seed in runs]
    publish("sparse", sorted(summed_up(rows), key=lambda row: (row["recipe"], row["seed"])), versions(packages=("torch",)))


if __name__ == "__main__":
    main()
