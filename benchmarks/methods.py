"""Every method of training side by side, beside its float twin: accuracy, spread, time, flips; each exported and exact.

    python benchmarks/methods.py [--threads N] [--seeds N] [--only TEXT] [--epochs N] [--results FILE] [--write]

A row is a data set, a network, a method and a seed. It is written at once, and a row that is there already is not trained again,
so that the command may be broken off and given again. All methods of a network have the same epochs, batches, layers, images and
learning rate; what differs is in the method's recipe. Networks: TFC (784-64-64-64-10) and the layers of ``mnist-cnn-small``;
Bi-Real Net's shortcuts need layers of equal width, so that it has its own, and the same without shortcuts stands beside it.

Each row's integers are compared with the trained model on all 10,000 test images (L0); the Verilog of every method's first seed
with them on some (L2).
``--write`` puts table and picture into docs/recipes.md.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch
from methods_table import write
from safetensors.numpy import load_file
from safetensors.torch import save as safetensors_bytes
from table import RESULTS, versions

from bnnhw import accelerator, artifact, datasets, folding, verify
from bnnhw.files import atomic_write
from bnnhw.lower import lower
from bnnhw.train import models, recipe
from bnnhw.train.export import export
from bnnhw.train.loop import Trainer, accuracy, float_twin, reestimate

TWIN = "float-twin"
METHODS = ("binarynet", "binarynet-stochastic", "binaryconnect", "binaryconnect-stochastic", "xnor-net", "pcnn", "binaryrelax",
           "bop", "ir-net", "recu", "rsign", "adambnn", "distillation", "dropout", "weight-decay", "label-smoothing",
           "metaplastic")
RESIDUAL = {"bi-real-net": True, "bi-real-net-without-shortcuts": False}
DATASETS = ("mnist", "fashion-mnist")
EPOCHS = {"mlp": 30, "cnn": 6}
LESSONS = 1 / 3         # of the epochs, that the teacher of the distillation is trained for
VERILOG_IMAGES = 100
CLOCK_HZ, FPS = 12_000_000, 1000


def keys(seeds):
    """(dataset, network, method, seed) of all rows, in an order in which a part of them says something."""
    for network in EPOCHS:
        for seed in range(seeds):
            for dataset in DATASETS:
                for method in (TWIN, *METHODS, *(RESIDUAL if network == "cnn" else ())):
                    yield dataset, network, method, seed


def chosen(dataset, network, method, seed, epochs):
    """The row's recipe."""
    changes = {"name": f"{method}-{network}", "dataset": dataset, "seed": seed, "epochs": epochs}
    if method in RESIDUAL:
        return recipe.load("mnist-bi-real-net").model_copy(update=changes | {"shortcuts": RESIDUAL[method]})
    own = recipe.load(f"mnist-{'binarynet' if method == TWIN else method}")
    if "lessons_epochs" in (options := own.model_dump().get("methods", [{}])[0]):
        options = options | {"lessons_epochs": max(1, round(LESSONS * epochs))}
        own = own.model_copy(update={"methods": [type(own.methods[0])(**options)]})
    if network == "cnn":
        changes |= {key: getattr(own, key) for key in ("estimator", "methods", "dropout", "weight_spread")}
        own = recipe.load("mnist-cnn-small")
    return own.model_copy(update=changes)


def weights_bytes(model):
    """Bytes of a file of the float32 weights of ``model``'s layers, and how many weights there are."""
    tensors = {str(k): layer.weight.detach() for k, layer in enumerate(model.binary_layers)}
    return len(safetensors_bytes(tensors)), sum(tensor.numel() for tensor in tensors.values())


def in_verilog(network, dataset, right):
    """How many images went through the Verilog without a mismatch, and the cycles that each takes; any mismatch is an error."""
    plan = folding.fold(network, lower(network), clock_hz=CLOCK_HZ, fps=FPS)
    facts = verify.in_verilog(plan, accelerator.verilog(plan), VERILOG_IMAGES, dataset=dataset)
    assert facts["mismatches"] == 0 and facts["right"] <= right
    return {"verilog_images": facts["images"], "verilog_mismatches": facts["mismatches"],
            "cycles_per_image": plan.cycles_per_inference}


def train(key, epochs, parts):
    """One row."""
    dataset, network, method, seed = key
    split, test = parts[dataset]
    own = chosen(*key, epochs)
    trainer = float_twin(own, split, epochs) if method == TWIN else Trainer(models.build(own, split), own, split)
    history = [trainer.run_epoch() for _ in range(epochs)]
    row = {"dataset": dataset, "network": network, "method": method, "seed": seed, "epochs": epochs,
           "processor_s": round(sum(epoch["processor_seconds"] for epoch in history), 1),
           "flips_first_epoch_percent": None, "flips_last_epoch_percent": None, "float32_weights_bytes": None,
           "file_bytes": None, "packed_weights_bytes": None, "float32_ties_sums": None, "compared_images": None,
           "differing_decisions": None, "differing_hidden_values": None, "verilog_images": None, "verilog_mismatches": None,
           "cycles_per_image": None}
    size, row["weights"] = weights_bytes(trainer.model)
    if method == TWIN:
        reestimate(trainer.model, trainer.images)
        share = accuracy(trainer.model, torch.from_numpy(test.images.copy()), torch.from_numpy(test.labels))
        return row | {"test_accuracy_percent": round(100 * share, 2), "float32_weights_bytes": size}
    found = export(trainer, test)
    facts = found.provenance
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "net.bnn")
        artifact.save(path, found)
        file_bytes = path.stat().st_size
        packed = [tensor.nbytes for name, tensor in load_file(path).items() if name.endswith(".weights")]
    layers = [op.weights for op in found.network.operations.values() if hasattr(op, "weights")]
    row |= {"test_accuracy_percent": round(100 * facts["test_accuracy"], 2),
            "flips_first_epoch_percent": round(100 * history[0]["flip_ratio"], 3),
            "flips_last_epoch_percent": round(100 * history[-1]["flip_ratio"], 3),
            "weights": sum(weights.size for weights in layers), "file_bytes": file_bytes,
            "packed_weights_bytes": sum(packed),
            "float32_ties_sums": len(facts["float32_ties"]), "compared_images": facts["checked"]["images"],
            "differing_decisions": facts["checked"]["differing_decisions"],
            "differing_hidden_values": facts["checked"]["differing_hidden_values"]}
    return row | (in_verilog(found.network, dataset, facts["test_right"]) if seed == 0 else {})


def key_of(row):
    return row["dataset"], row["network"], row["method"], row["seed"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1, help="processor threads (default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of each method (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="rows whose DATASET/NETWORK/METHOD/SEED contains this")
    parser.add_argument("--epochs", type=int, help="instead of 30 (MLP) and 6 (CNN), to try out; needs --results")
    parser.add_argument("--results", type=Path, default=RESULTS / "methods.json", metavar="FILE")
    parser.add_argument("--write", action="store_true", help="only put table and picture of the results into docs/recipes.md")
    args = parser.parse_args()
    rows = json.loads(args.results.read_text())["rows"] if args.results.exists() else []
    if args.write:
        write(rows)
        return
    if args.epochs and args.results.parent == RESULTS:
        parser.error("--epochs needs --results: rows of other lengths do not belong into the table")
    torch.set_num_threads(args.threads)
    done, failed, parts = {key_of(row) for row in rows}, [], {}
    for key in keys(args.seeds):
        name = "/".join(map(str, key))
        if key in done or args.only not in name:
            continue
        if key[0] not in parts:
            parts[key[0]] = [datasets.load(key[0], part) for part in ("train", "test")]
        try:
            row = train(key, args.epochs or EPOCHS[key[1]], parts)
        except Exception as error:      # the other rows are worth having
            failed.append(f"{name}: {type(error).__name__}: {error}")
            print(failed[-1], flush=True)
            continue
        rows.append(row)
        atomic_write(args.results, json.dumps({"command": "python benchmarks/methods.py", "versions": versions(
            "verilator", packages=("torch",)), "rows": rows}, indent=1) + "\n")
        print(f"{name}: {row['test_accuracy_percent']:.2f} %, {row['processor_s']:.0f} s", flush=True)
    sys.exit("\n".join(["failed:", *failed]) if failed else 0)


if __name__ == "__main__":
    main()
