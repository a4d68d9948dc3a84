"""Continual learning with and without metaplasticity: every task's accuracy after every epoch; every bank exact.

    python benchmarks/continual.py [--threads N] [--seeds N] [--only TEXT] [--epochs N] [--results FILE] [--write]

A row is a sequence of tasks, what enters the first layer (8-bit pixels or a thermometer of 2 levels), m (0 is plain) and a seed.
It is written at once, and a row that is there already is not trained again, so that the command may be broken off and
given again. All else is in the recipes ``permuted-mnist-...`` and ``mnist-fashion-...``. Its network stays in the folder
``--nets``.

Each row's integers are compared with the trained model on all test images of every task, with that bank (L0). When all rows
are trained, their Verilog is compared with the golden model on some images, the tasks taking turns from image to image (L2).
``--write`` puts tables and pictures into docs/continual.md.
"""

import argparse
import json
import sys
from pathlib import Path

import torch
from continual_table import flat, read, write
from table import RESULTS, versions

from bnnhw import accelerator, artifact, folding, tasks, verify
from bnnhw.files import atomic_write
from bnnhw.lower import lower
from bnnhw.train import continual, recipe

SEQUENCES = ("permuted-mnist", "mnist-fashion")
FIRST = {"pixels": 0, "levels": 2}      # levels of the first layer's inputs
METHODS = ("plain", "metaplastic")
VERILOG_IMAGES = 120                    # a multiple of both numbers of tasks
CLOCK_HZ, FPS = 25_000_000, 1000


def keys(seeds):
    """(sequence, first, method, seed) of all rows, in an order in which a part of them says something."""
    for seed in range(seeds):
        for first in FIRST:
            for sequence in SEQUENCES:
                for method in METHODS:
                    yield sequence, first, method, seed


def in_verilog(network, sequence):
    """What a row says of its Verilog: how many images went through it without a mismatch, which would be an error."""
    plan = folding.fold(network, lower(network), clock_hz=CLOCK_HZ, fps=FPS)
    facts = verify.in_verilog(plan, accelerator.verilog(plan), VERILOG_IMAGES, dataset=sequence)
    assert facts["mismatches"] == 0
    return {"verilog_images": facts["images"], "verilog_mismatches": facts["mismatches"], "verilog_right": facts["right"],
            "cycles_per_image": plan.cycles_per_inference, "latency_cycles": plan.latency_cycles}


def train(key, epochs, parts, net):
    """One row, but for its Verilog; the network is written to ``net``."""
    sequence, first, method, seed = key
    own = recipe.load(f"{sequence}-{method}", epochs=epochs, seed=seed).model_copy(update={"levels": FIRST[first]})
    trainer = continual.ContinualTrainer(own, *parts)
    history = [trainer.run_epoch() for _ in range(own.epochs)]
    found = continual.export(trainer)
    facts, count = found.provenance, len(found.provenance["tasks"])
    artifact.save(net, found)
    curves = [[row.get(f"test_accuracy_{k}") for row in history] for k in range(count)]
    return {"sequence": sequence, "first": first, "method": method, "seed": seed, "hidden": own.hidden, "epochs": own.epochs,
           "m": own.methods[0].m, "processor_s": round(sum(epoch["processor_seconds"] for epoch in history), 1),
           "weights": sum(op.weights.size for op in found.network.operations.values() if hasattr(op, "weights")),
           "file_bytes": net.stat().st_size, "network_sha256": found.network.digest,
           "curves_percent": [[None if v is None else round(100 * v, 2) for v in curve] for curve in curves],
           "task_accuracy_percent": [round(100 * right * count / facts["test_images"], 2) for right in facts["task_right"]],
           "float32_ties_sums": len(facts["float32_ties"]), "fraction_bits": facts["fraction_bits"],
           "compared_images": facts["checked"]["images"], "differing_decisions": facts["checked"]["differing_decisions"],
           "differing_hidden_values": facts["checked"]["differing_hidden_values"]}


def key_of(row):
    return row["sequence"], row["first"], row["method"], row["seed"]


def net_of(key, folder):
    """The file of a row's network."""
    return folder / ("-".join(map(str, key)) + ".bnn")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=1, help="seeds of each (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose SEQUENCE/FIRST/METHOD/SEED contains this")
    parser.add_argument("--epochs", type=int, help="instead of the recipes', to try out; needs --results")
    parser.add_argument("--results", type=Path, default=RESULTS / "continual.json", metavar="FILE")
    parser.add_argument("--nets", type=Path, default=Path("build/continual"), metavar="DIR", help="(default: %(default)s)")
    parser.add_argument("--write", action="store_true", help="only put tables and pictures of the results into docs/continual.md")
    args = parser.parse_args()
    rows = read(args.results)
    if args.write:
        write(rows)
        return
    if args.epochs and args.results.parent == RESULTS:
        parser.error("--epochs needs --results: rows of other lengths do not belong into the table")
    torch.set_num_threads(args.threads)
    args.nets.mkdir(parents=True, exist_ok=True)
    failed, parts = [], {}

    def keep():
        atomic_write(args.results, json.dumps({"command": "python benchmarks/continual.py", "versions": versions(
            "verilator", packages=("torch",)), "rows": flat(rows)}, indent=1) + "\n")

    def attempt(name, work):
        try:
            print(f"{name}: {work()}", flush=True)
            keep()
        except Exception as error:      # the other rows are worth having
            failed.append(f"{name}: {type(error).__name__}: {error}")
            print(failed[-1], flush=True)

    def trained(key):
        if key[0] not in parts:
            parts[key[0]] = [tasks.load(key[0], part) for part in ("train", "test")]
        row = train(key, args.epochs, parts[key[0]], net_of(key, args.nets))
        rows.append(row)
        return f"{row['task_accuracy_percent']} %, {row['processor_s']:.0f} s"

    def simulated(row):
        network = artifact.load(net_of(key_of(row), args.nets)).network
        if network.digest != row["network_sha256"]:
            raise ValueError(f"the network in {args.nets} is another one")
        row |= in_verilog(network, row["sequence"])
        return f"{row['verilog_images']} images through the Verilog"

    done = {key_of(row) for row in rows}
    for key in keys(args.seeds):
        if key not in done and args.only in (name := "/".join(map(str, key))):
            attempt(name, lambda key=key: trained(key))
    for row in rows:
        if "verilog_images" not in row and args.only in (name := "/".join(map(str, key_of(row)))):
            attempt(name, lambda row=row: simulated(row))
    sys.exit("\n".join(["failed:", *failed]) if failed else 0)


if __name__ == "__main__":
    main()
