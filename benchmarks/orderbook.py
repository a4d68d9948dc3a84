"""The order book: where the middle stands some events later, and how soon after the last integer an ECP5 says so.

    python benchmarks/orderbook.py

Ten minutes of BTC-USD on Coinbase, 2018-07-13, order by order. All methods learn from the same rows, of the first two thirds, and
are tried on every event of the last third (bnnhw/bookmoves.py). The network's decisions are those of its exported integers,
compared with the trained model's each time. Its settings and those of logistic regression were chosen by cross-validation within
the first two thirds. Intervals, 95 %, are of a moving-block bootstrap: neighbouring rows say nearly the same, so stretches of
BLOCK events are drawn instead of rows.

The second table is of the network of seed 0 with its layers as constants, at several depths of logic between registers, as
`bnnhw build --plan` takes it: a feature per cycle comes in, cycles count from the last one's to the class. All test rows go
through the Verilog, NETLIST_ROWS of them through the very netlist that is placed and routed.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import tomlkit
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from table import publish, versions

from bnnhw import accelerator, bookmoves, datasets, devices, implement, netlist, planfile, reference, verify
from bnnhw.datasets import WORD, Split
from bnnhw.lower import lower
from bnnhw.simulator import Simulator, encode
from bnnhw.train import export, models, recipe
from bnnhw.train.loop import Trainer
from bnnhw.train.tabular import column_levels

RECIPE, HORIZONS, SEEDS = "orderbook-mlp", (20, bookmoves.HORIZON, 500), 5
BLOCK, RESAMPLES = 500, 300
REGULARIZATION = 0.001      # C of both logistic regressions
DEVICE, DEPTHS, CLOCK_HZ, NETLIST_ROWS = "ecp5-25f", (2,), 200_000_000, 500


def network(train, test, seed=0):
    """The artifact, trained on ``train``, and how likely it takes each class to be for the rows of ``test``."""
    chosen = recipe.load(RECIPE, seed=seed)
    trainer = Trainer(models.build(chosen, train), chosen, train)
    for _ in range(chosen.epochs):
        trainer.run_epoch()
    found = export.export(trainer, test)
    edge = found.network.operations["class"].inputs[0]
    scores = reference.run(found.network, test.images, keep=[edge])[edge]
    return found, torch.softmax(torch.from_numpy(scores) * trainer.model.score_scale, 1).numpy()


def always_same(train, test):
    return np.tile([0.0, 1.0, 0.0], (len(test.labels), 1))


def on_bits(train, test):
    """Logistic regression on the bits that the network has."""
    levels = column_levels(train.images, recipe.load(RECIPE).levels, WORD + 1)
    bits = [(split.images[:, :, None] >= levels).reshape(len(split.images), -1) for split in (train, test)]
    return LogisticRegression(C=REGULARIZATION, max_iter=1000).fit(bits[0], train.labels).predict_proba(bits[1])


def on_integers(train, test):
    """Logistic regression on the logarithms of the integers, standardized."""
    steps = FunctionTransformer(np.log1p), StandardScaler(), LogisticRegression(C=REGULARIZATION, max_iter=1000)
    return make_pipeline(*steps).fit(train.images, train.labels).predict_proba(test.images)


def figures(labels, likely):
    """Accuracy and balanced accuracy in %, areas under the curves of "down" and "up" against the rest; NaN without such rows.

    Balanced accuracy wants rows of every class: over those that are there it would be the easier, the fewer there are.
    """
    right = likely.argmax(axis=1) == labels
    of_classes = [right[labels == c].mean() if np.any(labels == c) else np.nan for c in range(len(bookmoves.CLASSES))]
    areas = [roc_auc_score(labels == c, likely[:, c]) if 0 < np.mean(labels == c) < 1 else np.nan for c in (0, 2)]
    return np.array([100 * right.mean(), 100 * np.mean(of_classes), *areas])


def resampled(count):
    """Rows of each resample: stretches of BLOCK that begin anywhere."""
    generator = np.random.default_rng(0)
    for _ in range(RESAMPLES):
        starts = generator.integers(0, count - BLOCK + 1, -(-count // BLOCK))
        yield (starts[:, None] + np.arange(BLOCK)).flatten()[:count]


def interval(values):
    """(low, high) of the middle 95 %."""
    return np.round(np.nanpercentile(values, [2.5, 97.5], axis=0), 4)


def at_horizon(tape, horizon):
    """Rows of the table for a horizon, and the artifact and test part of seed 0."""
    train, test = (Split(*part, bookmoves.CLASSES, WORD) for part in bookmoves.split_in_time(tape, horizon).values())
    seeds = [network(train, test, seed) for seed in range(SEEDS)]
    likely = {"always same": always_same(train, test), "binary network": seeds[0][1],
              "logistic regression, same bits": on_bits(train, test),
              "logistic regression, integers": on_integers(train, test)}
    resamples = list(resampled(len(test.labels)))
    drawn = {name: np.array([figures(test.labels[rows], own[rows]) for rows in resamples]) for name, own in likely.items()}
    keys = ("accuracy_percent", "balanced_accuracy_percent", "auc_down", "auc_up")
    found = []
    for name, own in likely.items():
        row = {"horizon_events": horizon, "method": name, "rows": len(test.labels),
               **{f"rows_{word}": int(np.count_nonzero(test.labels == c)) for c, word in enumerate(bookmoves.CLASSES)}}
        low_high = interval(drawn[name])
        behind = interval(drawn["binary network"] - drawn[name])
        for k, key in enumerate(keys):
            row |= {key: round(figures(test.labels, own)[k], 4), f"{key}_low": low_high[0, k], f"{key}_high": low_high[1, k],
                    f"network_{key}_more_low": behind[0, k], f"network_{key}_more_high": behind[1, k]}
        of_seeds = np.array([figures(test.labels, one) for _, one in seeds]) if name == "binary network" else None
        for k, key in enumerate(keys):
            for what in ("min", "mean", "max"):
                row[f"seeds_{key}_{what}"] = None if of_seeds is None else round(float(getattr(of_seeds[:, k], what)()), 4)
        found.append(row)
    return found, seeds[0][0], test


def plan_of(network, depth):
    """A feature per cycle; dense layers unfolded, ``depth`` tables or chains between registers; all scores compared at once."""
    layers = {}
    for stage in lower(network):
        own = {"dense": {"style": "unfolded", "fabric": "ecp5", "depth": depth}, "class": {"lanes": len(bookmoves.CLASSES)}}
        layers[stage.name] = {"kind": stage.kind} | own.get(stage.kind, {"lanes": 1})
    text = tomlkit.dumps({"format": planfile.FORMAT, "network": network.digest, "clock_hz": CLOCK_HZ, "result": "class",
                          "buffers": "rate", "layers": layers})
    return planfile.loads(text, network, lower)


def in_hardware(found, test, depth, folder):
    """The row of the second table for a depth."""
    plan, device = plan_of(found.network, depth), devices.find(DEVICE)
    source, mapped, flat = (Path(folder, name) for name in ("cells.v", "mapped.v", "netlist.json"))
    source.write_text(accelerator.verilog(plan, cells=True))
    counts = implement.synthesize([source], accelerator.TOP, device, netlist=flat, part=accelerator.TOP, part_verilog=mapped)
    checked = []
    for level, text, taps, rows in (("Verilog", accelerator.verilog(plan), accelerator.taps(plan), len(test.labels)),
                                    ("netlist", netlist.cell_models(device) + mapped.read_text(), (), NETLIST_ROWS)):
        x = test.images[:rows]
        result = Simulator.of_plan(plan, text, taps=taps, optimize="-O0").run(encode(found.network, x), taps=bool(taps))
        verify.check_timing(plan, result)
        checked.append(verify.summary(found.network, x, test.labels[:rows], result, level))
    routed = implement.route(flat, device, package=device.packages[0], constraints=None, clock_hz=CLOCK_HZ,
                             output=Path(folder, "routed.config"), counts=counts)
    beats = test.images.shape[1]
    cycles = checked[0]["latency_cycles"] - (beats - 1)
    weights = sum(op.weights.size for op in found.network.operations.values() if hasattr(op, "weights"))
    return {"device": DEVICE, "weights": weights, "features": beats, "depth": depth, "cycles_from_last_feature": cycles,
            "cells": routed.luts, "cells_limit": routed.luts_limit, "flip_flops": routed.ffs, "block_rams": routed.brams,
            "fmax_mhz": round(routed.fmax_hz / 1e6, 1), "latency_ns": round(cycles / routed.fmax_hz * 1e9, 1),
            "rows_in_verilog": checked[0]["images"], "right": checked[0]["right"], "rows_in_netlist": checked[1]["images"],
            "mismatches": checked[0]["mismatches"] + checked[1]["mismatches"]}


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tape = bookmoves.tape_of(datasets.files("order-book", "test"))
    rows = []
    for horizon in HORIZONS:
        found, artifact, test = at_horizon(tape, horizon)
        rows += found
        if horizon == bookmoves.HORIZON:
            shipped = artifact, test
    publish("orderbook", rows, versions(packages=("torch", "scikit-learn", "scipy")))
    with tempfile.TemporaryDirectory() as folder:
        rows = []
        for depth in DEPTHS:
            print(f"depth {depth}: synthesis, simulation, routing", file=sys.stderr)
            rows.append(in_hardware(*shipped, depth, folder))
            publish("orderbook-latency", rows, versions("yosys", "nextpnr-ecp5", "verilator", packages=("torch",)))


if __name__ == "__main__":
    main()
