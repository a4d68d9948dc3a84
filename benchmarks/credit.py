"""German credit: the sparse network of `credit-lut4` beside the majority, logistic regression and gradient boosting.

    python benchmarks/credit.py

Repeated stratified cross-validation: all 1,000 rows fall into 5 parts, 5 times; what is trained on four parts is tried on the
fifth. The network's decisions are those of the exported integers, compared with the trained model's each time. Settings of all
methods were chosen by cross-validation within the 800 rows of the training part. The 200 rows of the test part, whose figures
stand at the end of a row, had no part in that.

A bad risk taken for a good one costs 5, the other error 1, as UCI's page says. "By cost" each method decides by its own odds.
"""

import math

import numpy as np
import torch
from sklearn.compose import make_column_transformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from table import publish, versions

from bnnhw import datasets, reference, tables
from bnnhw.train import export, models, recipe
from bnnhw.train.loop import Trainer
from bnnhw.train.tabular import at_costs

FOLDS, REPEATS, FIRST_SEED = 5, 5, 1000     # seeds of the lots: FIRST_SEED and on
COSTS = (1, 5)                              # of an error on a good risk, on a bad one
STUDENT = 2.0639                            # 97.5 % of Student's t with FOLDS * REPEATS - 1 degrees of freedom
CODED = [k for k, (_, coded) in enumerate(tables.CREDIT_COLUMNS) if coded]
COUNTED = [k for k, (_, coded) in enumerate(tables.CREDIT_COLUMNS) if not coded]


def sparse_network(train, rows, seed):
    chosen = recipe.load("credit-lut4", seed=seed)
    trainer = Trainer(models.build(chosen, train), chosen, train)
    for _ in range(chosen.epochs):
        trainer.run_epoch()
    model = trainer.model.eval()
    network, _ = export.to_network(model, rows.shape[1:])
    export.check(model, network, torch.from_numpy(rows))
    found = reference.run(network, rows, keep=["scores", "class"])
    costly = reference.run(at_costs(network, model, COSTS), rows)
    return found["scores"][:, 1] - found["scores"][:, 0], found["class"], costly["class"]


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
    "sparse network": sparse_network,
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


def interval(difference):
    """Half the width of the 95 % interval of a mean difference, for parts whose training rows overlap: Nadeau and Bengio,
    "Inference for the Generalization Error", 2003."""
    return STUDENT * difference.std(ddof=1) * math.sqrt(1 / len(difference) + 1 / (FOLDS - 1))


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    whole, train, test = (datasets.load("german-credit", split) for split in ("all", "train", "test"))
    found = {name: cross_validated(method, whole) for name, method in METHODS.items()}
    rows = []
    for name, method in METHODS.items():
        own, behind = found[name], found["sparse network"] - found[name]
        last = figures(test.labels, method(train, test.images, 0))
        row = {"method": name}
        for k, (key, factor) in enumerate((("accuracy_percent", 100), ("auc", 1), ("cost_per_row", 1),
                                           ("cost_per_row_by_cost", 1))):
            row |= {key: round(factor * own[:, k].mean(), 4), f"{key}_deviation": round(factor * own[:, k].std(ddof=1), 4)}
        for k, key in ((0, "accuracy"), (1, "auc"), (3, "cost_by_cost")):
            row |= {f"network_{key}_more": round(behind[:, k].mean(), 4),
                    f"network_{key}_more_interval": round(interval(behind[:, k]), 4)}
        rows.append(row | {"test_right_rows": round(last[0] * len(test.labels)), "test_auc": round(last[1], 4),
                           "test_cost_by_cost": round(last[3] * len(test.labels))})
    publish("credit", rows, versions(packages=("torch", "scikit-learn", "scipy")))


if __name__ == "__main__":
    main()
