"""FINN's CNV at full width and at FINN's folding: planned and simulated cycles, time and memory of the generator, golden model.

    python benchmarks/cnv.py

The folding, (PE, SIMD) for each layer, and the interval to meet, 32,768 cycles, are those of FINN's end-to-end example. Weights
and thresholds are random: neither area nor timing nor exactness depends on them. Images are CIFAR-10's test images.
"""

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tomlkit
from table import publish, versions

from bnnhw import artifact, datasets, reference
from bnnhw.ir import ArgMax, Conv2d, Dense, Flatten, Input, MaxPool2d, Network, TensorType, Threshold
from bnnhw.lower import lower

CONVS = (("conv1", 64, False), ("conv2", 64, True), ("conv3", 128, False), ("conv4", 128, True), ("conv5", 256, False),
         ("conv6", 256, False))
DENSES = (("fc1", 512), ("fc2", 512), ("fc3", 10))
FOLDING = {"conv1": (16, 3), "conv2": (32, 32), "conv3": (16, 32), "conv4": (16, 32), "conv5": (4, 32), "conv6": (1, 32),
           "fc1": (1, 4), "fc2": (1, 8), "fc3": (5, 1)}
LANES = {"image": 3, "pool2": 32, "pool4": 16}
FINN_CYCLES = 32_768
IMAGES, GOLDEN_IMAGES = 100, 1000


def cnv():
    """The network with random weights, thresholds near the middle of each sum, some falling."""
    rng = np.random.default_rng(0)
    operations, edge, channels = [Input("image", TensorType((32, 32, 3), 0, 255))], "image", 3

    def act(source, n_out, spread):
        levels, falling = rng.integers(-spread, spread + 1, (n_out, 1)), rng.random(n_out) < 0.3
        operations.append(Threshold(f"{source}_act", source, levels, falling))
        return f"{source}_act"
    for name, n_out, pool in CONVS:
        operations.append(Conv2d(name, edge, rng.choice([-1, 1], (n_out, 3, 3, channels))))
        edge = act(name, n_out, 9 if channels > 3 else 2000)
        channels = n_out
        if pool:
            operations.append(MaxPool2d(f"pool{name[-1]}", edge, (2, 2), (2, 2)))
            edge = operations[-1].name
    operations.append(Flatten("flat", edge))
    edge = "flat"
    for name, n_out in DENSES:
        operations.append(Dense(name, edge, rng.choice([-1, 1], (n_out, channels))))
        edge, channels = act(name, n_out, 9) if n_out > 10 else name, n_out
    return Network([*operations, ArgMax("class", edge)], "class")


def plan_text(network):
    """A plan.toml that gives the folding; depths of buffers are left to bnnhw."""
    layers = {}
    for stage in lower(network):
        if stage.name in FOLDING:
            pe, simd = FOLDING[stage.name]
            layers[stage.name] = {"kind": stage.kind, "pe": pe, "simd": simd, "memory": "bram"}
        else:
            layers[stage.name] = {"kind": stage.kind} | ({"lanes": LANES[stage.name]} if stage.name in LANES else {})
    return tomlkit.dumps({"format": 1, "network": network.digest, "clock_hz": 100_000_000, "result": "class", "buffers": "rate",
                          "layers": layers})


def build(folder, *options):
    """The command's report, and its wall time in seconds."""
    command = [sys.executable, "-m", "bnnhw.build", f"{folder}/cnv.bnn", "--plan", f"{folder}/cnv.toml", *options,
               "-o", f"{folder}/out"]
    start = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return json.loads(Path(folder, "out", "report.json").read_text()), time.perf_counter() - start


def main():
    network = cnv()
    test = datasets.load("cifar10", "test")
    start = time.perf_counter()
    reference.run(network, test.images[:GOLDEN_IMAGES])
    golden = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        artifact.save(f"{folder}/cnv.bnn", artifact.Artifact(network, test.classes, {"dataset": "cifar10"}))
        Path(folder, "cnv.toml").write_text(plan_text(network))
        facts, seconds = build(folder)
        memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        checked, _ = build(folder, "--verify", str(IMAGES))
    verified = checked["verified"]
    publish("cnv", [{
        "network": "CNV 64-64-128-128-256-256-512-512-10", "weights": sum(
            op.weights.size for op in network.operations.values() if hasattr(op, "weights")),
        "cycles_per_image_planned": facts["cycles_per_inference"], "cycles_per_image_simulated": verified["interval_cycles"],
        "cycles_per_image_finn": FINN_CYCLES, "latency_cycles": verified["latency_cycles"],
        "images_simulated": verified["images"],
        "mismatches": verified["mismatches"], "simulated_images_per_s": verified["images_per_second"],
        "build_s": round(seconds, 1), "build_peak_memory_mb": round(memory), "golden_model_1000_images_s": round(golden, 1),
    }], versions("verilator"))


if __name__ == "__main__":
    main()
