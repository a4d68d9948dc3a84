"""German credit: the networks of `credit-mlp` and `credit-lut4` beside the majority, logistic regression and gradient boosting.

    python benchmarks/credit.py

Repeated stratified cross-validation: all 1,000 rows fall into 5 parts, 5 times; what is trained on four parts is tried on the
fifth. The networks' decisions are those of the exported integers, compared with the trained model's each time. Settings of all
methods were chosen by cross-validation within the 800 rows of the training part. The 200 rows of the test part, whose figures
stand at the end of a row, had no part in that.

A bad risk taken for a good one costs 5, the other error 1, as UCI's page says. "By cost" each method decides by its own odds.

The second table is of both recipes' own networks on BOARD, link and all: all test rows go through the Verilog, NETLIST_ROWS of
them through the synthesized netlist.
"""

import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from table import publish, versions

from bnnhw import artifact, datasets, reference, tables
from bnnhw.train import export, models, recipe
from bnnhw.train.loop import Trainer, reestimate
from bnnhw.train.tabular import at_costs

FOLDS, REPEATS, FIRST_SEED = 5, 5, 1000     # seeds of the lots: FIRST_SEED and on
NETWORKS = {"binary MLP": "credit-mlp", "sparse network": "credit-lut4"}
BOARD, NETLIST_ROWS = "icebreaker", 50
COSTS = (1, 5)                              # of an error on a good risk, on a bad one
STUDENT = 2.0639                            # 97.5 % of Student's t with FOLDS * REPEATS - 1 degrees of freedom
CODED = [k for k, (_, coded) in enumerate(tables.CREDIT_COLUMNS) if coded]
COUNTED = [k for k, (_, coded) in enumerate(tables.CREDIT_COLUMNS) if not coded]


def trained(name, train, seed):
    """The trainer of the recipe ``name`` when it is done."""
    chosen = recipe.load(name, seed=seed)
    trainer = Trainer(models.build(chosen, train), chosen, train)
    for _ in range(chosen.epochs):
        trainer.run_epoch()
    return trainer


def exported(name):
    """The method of the recipe ``name``: what its integers decide."""
    def run(train, rows, seed):
        trainer = trained(name, train, seed)
        reestimate(trainer.model, trainer.images)
        network, _ = export.to_network(trainer.model, rows.shape[1:])
        export.check(trainer.model, network, torch.from_numpy(rows))
        edge = network.operations["class"].inputs[0]
        found = reference.run(network, rows, keep=[edge, "class"])
        costly = reference.run(at_costs(network, trainer.model, COSTS), rows)
        return found[edge][:, 1] - found[edge][:, 0], found["class"], costly["class"]
    return run


def majority(train, rows, seed):
    counts = np.bincount(train.labels)
    return np.zeros(len(rows)), np.full(len(rows), counts.argmax()), np.full(len(rows), (counts * COSTS).argmax())


def by_odds(*steps):
    """A method of scikit-learn whose decision function gives the logarithm of the odds."""
    def run(train, rows, seed):
        pipeline = make_pipeline(*(step(seed) for step in steps)).fit(train.images, train.labels)
        odds = pipeline.decision_function(rows)
        return odds, odds > 0, odds > math.log(COSTS[0] / COSTS[1])
    return run


METHODS = {
    "majority": majority,
    **{name: exported(own) for name, own in NETWORKS.items()},
    "logistic regression": by_odds(
        lambda seed: make_column_transformer((OneHotEncoder(handle_unknown="ignore"), CODED), (StandardScaler(), COUNTED)),
        lambda seed: LogisticRegression(C=0.1, max_iter=2000)),
    "gradient boosting": by_odds(
        lambda seed: make_column_transformer((OneHotEncoder(handle_unknown="ignore"), CODED), remainder="passthrough"),
        lambda seed: GradientBoostingClassifier(n_estimators=200, learning_rate=0.05, subsample=0.5, max_features="sqrt",
                                                random_state=seed)),
}


def figures(labels, found):
    """Accuracy, area under the curve, and mean cost of a row, decided by what is likelier and by what costs less."""
    order, decided, costly = found
    costs = [np.where(classes == labels, 0, np.take(COSTS, labels)).mean() for classes in (decided, costly)]
    return [np.mean(decided == labels), roc_auc_score(labels, order), *costs]


def cross_validated(method, whole):
    """(FOLDS * REPEATS, 4): the :func:`figures` of each part."""
    found = []
    for repeat in range(REPEATS):
        fold = tables.folds(whole.labels, FOLDS, FIRST_SEED + repeat)
        for k in range(FOLDS):
            inside, outside = fold != k, fold == k
            train = datasets.Split(whole.images[inside], whole.labels[inside], whole.classes, whole.greatest)
            found.append(figures(whole.labels[outside], method(train, whole.images[outside], FOLDS * repeat + k)))
    return np.array(found)


def interval(values):
    """Half the width of the 95 % interval of a mean over trials whose training rows overlap: Nadeau and Bengio, "Inference for
    the Generalization Error", 2003."""
    return STUDENT * values.std(ddof=1) * math.sqrt(1 / len(values) + 1 / (FOLDS - 1))


def rows_of(found, last):
    """The table: of each method the means over the trials, and how much more the networks have, with intervals.

    ``found``: method -> array of :func:`cross_validated`. ``last``: method -> :func:`figures` of the test part.
    """
    keys = (("accuracy_percent", 100), ("auc", 1), ("cost_per_row", 1), ("cost_per_row_by_cost", 1))
    for name, own in found.items():
        row = {"method": name}
        for k, (key, factor) in enumerate(keys):
            values = factor * own[:, k]
            row |= {key: round(values.mean(), 4), f"{key}_interval": round(interval(values), 4),
                    f"{key}_deviation": round(values.std(ddof=1), 4)}
        for network in NETWORKS:
            for k, (key, factor) in enumerate(keys):
                more = factor * (found[network] - own)[:, k]
                what = f"{network.replace(' ', '_').lower()}_{key}_more"
                row |= {what: round(more.mean(), 4), f"{what}_interval": round(interval(more), 4)}
        right, area, _, cost = last[name]
        yield row | {"test_right_percent": round(100 * right, 2), "test_auc": round(area, 4),
                     "test_cost_per_row_by_cost": round(cost, 4)}


def on_board(name, recipe_name, train, test, folder):
    """The row of the second table for a network."""
    file, out = Path(folder, f"{recipe_name}.bnn"), Path(folder, recipe_name)
    artifact.save(file, export.export(trained(recipe_name, train, 0), test))
    command = [sys.executable, "-m", "bnnhw.build", file, "--board", BOARD, "--bitstream", "--verify", str(len(test.labels)),
               "--verify-netlist", str(NETLIST_ROWS), "-o", out]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    report = json.loads((out / "report.json").read_text())
    device = report["device"]
    return {"network": name, "recipe": recipe_name, "board": BOARD, "cells": device["luts"], "cells_limit": device["luts_limit"],
            "flip_flops": device["ffs"], "block_rams": device["brams"], "fmax_mhz": round(device["fmax_hz"] / 1e6, 2),
            "clock_mhz": report["clock_hz"] / 1e6, "cycles_per_row": report["cycles_per_inference"],
            "latency_cycles": report["latency_cycles"], "rows_in_verilog": report["verified"]["images"],
            "right": report["verified"]["right"], "rows_in_netlist": report["netlist"]["images"],
            "mismatches": report["verified"]["mismatches"] + report["netlist"]["mismatches"]}


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    whole, train, test = (datasets.load("german-credit", split) for split in ("all", "train", "test"))
    found = {name: cross_validated(method, whole) for name, method in METHODS.items()}
    last = {name: figures(test.labels, method(train, test.images, 0)) for name, method in METHODS.items()}
    publish("credit", list(rows_of(found, last)), versions(packages=("torch", "scikit-learn", "scipy")))
    with tempfile.TemporaryDirectory() as folder:
        rows = [on_board(name, own, train, test, folder) for name, own in NETWORKS.items()]
    publish("credit-board", rows, versions("yosys", "nextpnr-ice40", "verilator", packages=("torch",)))


if __name__ == "__main__":
    main()
