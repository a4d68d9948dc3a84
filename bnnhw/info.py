"""What a .bnn file holds: ``bnnhw info``."""

import json

from rich.console import Console
from rich.table import Table

from . import artifact, models

__all__ = ["add_arguments", "run"]


def add_arguments(parser):
    parser.add_argument("model", nargs="?", default=models.DEFAULT, metavar="MODEL",
                        help="a .bnn file or the name of a shipped network (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def describe(found):
    """Plain JSON values: digest, operations with types and sizes in bits, class names, provenance."""
    network = found.network
    operations = []
    for name, operation in network.operations.items():
        type = network.types[name]
        operations.append({
            "name": name, "kind": operation.kind, "inputs": list(operation.inputs), "shape": list(type.shape),
            "lo": type.lo, "hi": type.hi, "step": type.step,
            "weight_bits": sum(getattr(operation, key).size for key in ("weights", "tables") if hasattr(operation, key)),
            "falling": int(operation.falling.sum()) if operation.kind == "Threshold" else 0,
        })
    return {"network": network.digest, "operations": operations, "outputs": list(network.outputs),
            "classes": list(found.classes), "provenance": found.provenance}


def run(args):
    found = describe(artifact.load(models.path(args.model)))
    if args.json:
        print(json.dumps(found, indent=2))
        return
    console = Console()
    console.print(f"network {found['network']}", highlight=False, markup=False)
    table = Table("operation", "kind", "of", "shape", "values", "weights", box=None, pad_edge=False)
    for op in found["operations"]:
        values = f"{op['lo']} to {op['hi']}" + (f" by {op['step']}" if op["step"] > 1 else "")
        note = f"{op['weight_bits']:,}" if op["weight_bits"] else f"{op['falling']} falling" if op["falling"] else ""
        table.add_row(op["name"], op["kind"], ", ".join(op["inputs"]), "x".join(map(str, op["shape"])) or "scalar", values, note)
    console.print(table)
    total = sum(op["weight_bits"] for op in found["operations"])
    classes = ", ".join(found["classes"]) or "unnamed"
    console.print(f"{total:,} weights of one bit; classes: {classes}", highlight=False, markup=False)
    for key, value in found["provenance"].items():
        text = value if isinstance(value, str) else json.dumps(value)
        console.print(f"{key}: {text}", highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    from .cli import main_of
    main_of("info")
