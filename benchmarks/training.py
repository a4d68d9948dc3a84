"""What the shipped recipes reach on their data sets' 10,000 test images, and what it costs.

    python benchmarks/training.py [RECIPE ...] [--threads N] [--folder DIR]

Runs ``python -m bnnhw.train RECIPE`` for each (without names: all but FINN's CNV at full width). A network that lies in
the folder already is taken as it is, a training that was interrupted is gone on with. Each row's network is exact: export
compared it with the trained model on all test images. Beside CIFAR-10's stands the float twin: the same layers with
float32 weights and activations, trained as long.
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path

from table import publish, versions
from twin import accuracy_percent

from bnnhw import artifact, datasets, reference

RECIPES = ("mnist-tfc", "mnist-sfc", "mnist-lfc", "mnist-cnn-small", "mnist-cnn", "fashion-plain", "fashion-residual",
           "fashion-cnn", "cifar10-cnv-narrow")
TWINS = ("cifar10-cnv-narrow", "cifar10-cnv")


def train(recipe, folder, threads):
    """Train, or go on training, and give the row."""
    output = folder / f"{recipe}.bnn"
    side = folder / f"{recipe}.bnn.train"
    if not output.exists():
        command = [sys.executable, "-m", "bnnhw.train", recipe, "-o", output, "--threads", str(threads)]
        subprocess.run(command + ["--resume"] * (side / "checkpoint.safetensors").exists(), check=True)
    found = artifact.load(output)
    facts = found.provenance
    test = datasets.load(facts["dataset"], "test")
    right, total = reference.accuracy(found.network, test.images, test.labels)
    assert (right, total) == (facts["test_right"], facts["test_images"])
    metrics = [json.loads(line) for line in (side / "metrics.jsonl").read_text().splitlines()]
    weights = sum(op.weights.size for op in found.network.operations.values() if hasattr(op, "weights"))
    return {"recipe": recipe, "dataset": facts["dataset"], "weights_bits": weights, "file_bytes": output.stat().st_size,
            "epochs": len(metrics), "seed": facts["recipe"]["seed"], "test_right_images": right,
            "test_accuracy_percent": round(100 * right / total, 2),
            "float_twin_accuracy_percent": accuracy_percent(recipe, folder, threads) if recipe in TWINS else None,
            "score_ties_images": facts["test_ties"], "float32_ties_sums": len(facts["float32_ties"]),
            "threads": facts["trained_on"]["threads"], "processor_s": round(sum(row["processor_seconds"] for row in metrics)),
            "network": found.network.digest[:12]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=RECIPES, metavar="RECIPE")
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=Path("build/training"), help="where they go (default: %(default)s)")
    args = parser.parse_args()
    rows = [train(recipe, args.folder, args.threads) for recipe in args.recipes]
    publish("training", rows, versions(packages=("torch",)))


if __name__ == "__main__":
    main()
