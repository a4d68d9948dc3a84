"""Data of one's own: tables of scikit-learn as CSV files, its digits as an .npz, trained and evaluated as users would.

    python benchmarks/own_data.py

Logistic regression (scikit-learn, standardized, settings as they come) learns the same rows; on the test part it is tried on the
same rows, too.
"""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn import datasets as bunches
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from table import publish, versions

from bnnhw import artifact, owndata

# (data, of scikit-learn, file, recipe)
CASES = (("wine", bunches.load_wine, "wine.csv", "own-table"),
         ("breast cancer", bunches.load_breast_cancer, "cancer.csv", "own-table"),
         ("digits", bunches.load_digits, "digits.npz", "own-images"))


def write(found, file):
    """The bunch as a user would have it."""
    if file.suffix == ".npz":
        np.savez(file, images=(found.images * 255 / found.images.max()).astype(np.uint8), labels=found.target)
        return
    with open(file, "w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow([*found.feature_names, "class"])
        writer.writerows([*row, found.target_names[label]] for row, label in zip(found.data, found.target, strict=True))


def row(name, load, file, recipe, folder):
    file, net = Path(folder, file), Path(folder, f"{Path(file).stem}-{recipe}.bnn")
    write(load(), file)
    subprocess.run([sys.executable, "-m", "bnnhw.train", recipe, "--data", file, "-o", net, "--threads", "1", "--device", "cpu"],
                   check=True)
    command = [sys.executable, "-m", "bnnhw.evaluate", net, "--data", file, "--json"]
    done = subprocess.run(command, check=True, capture_output=True)
    evaluated, own, found = json.loads(done.stdout), owndata.load(file), artifact.load(net)
    train, test = (part.images.reshape(len(part.images), -1) for part in (own.train, own.test))
    rival = make_pipeline(StandardScaler(), LogisticRegression(max_iter=5000)).fit(train, own.train.labels)
    weights = sum(operation.weights.size for operation in found.network.operations.values() if hasattr(operation, "weights"))
    return {"data": name, "recipe": recipe, "training_rows": len(train), "test_rows": evaluated["total"], "weights_bits": weights,
            "right": evaluated["right"], "right_of_logistic_regression": int((rival.predict(test) == own.test.labels).sum()),
            "right_of_majority": int((own.test.labels == np.bincount(own.train.labels).argmax()).sum())}


def main():
    with tempfile.TemporaryDirectory() as folder:
        rows = [row(*case, folder) for case in CASES]
    publish("own-data", rows, versions(packages=("torch", "scikit-learn")))


if __name__ == "__main__":
    main()
