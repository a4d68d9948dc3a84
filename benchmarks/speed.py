"""How fast the parts are: golden model, network to Verilog, Verilator.

    python benchmarks/speed.py

Times are of this machine, the least of three; memory is the peak of a process that does nothing else.
"""

import resource
import subprocess
import sys
import tempfile
import time

import numpy as np
from table import publish, versions

from bnnhw import accelerator, datasets, folding, models, reference, simulate
from bnnhw.ir import ArgMax, Dense, Flatten, Input, Network, TensorType, Threshold
from bnnhw.lower import lower

CLOCK_HZ = 24_000_000
FPS = 100_000


def least_of_three(function):
    times = []
    for _ in range(3):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def wide_network():
    """784-256-256-256-10 with random weights, the size that the bar of the golden model names."""
    rng = np.random.default_rng(0)
    operations = [Input("image", TensorType((28, 28, 1), 0, 255)), Threshold("binarize", "image", [[128]], [False]),
                  Flatten("flat", "binarize")]
    edge, n_in = "flat", 784
    for k, n_out in enumerate((256, 256, 256, 10), 1):
        operations.append(Dense(f"fc{k}", edge, rng.choice([-1, 1], (n_out, n_in))))
        edge, n_in = f"fc{k}", n_out
        if k < 4:
            operations.append(Threshold(f"act{k}", edge, np.zeros((n_out, 1)), np.zeros(n_out, bool)))
            edge = f"act{k}"
    return Network([*operations, ArgMax("class", edge)], "class")


def golden(name, network, images):
    seconds = least_of_three(lambda: reference.run(network, images))
    return {"what": f"golden model, {name}", "images": len(images), "seconds": seconds, "images_per_s": len(images) / seconds,
            "peak_memory_mb": None}


def build(name):
    """Wall time and peak memory of the whole command, started warm."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "bnnhw.build", name, "-o", f"{folder}/out"]
        subprocess.run(command, check=True, capture_output=True)
        seconds = least_of_three(lambda: subprocess.run(command, check=True, capture_output=True))
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return {"what": f"bnnhw.build {name} to Verilog", "images": None, "seconds": seconds, "images_per_s": None,
            "peak_memory_mb": round(memory)}


def verilator(name, images):
    network = models.load(name).network
    plan = folding.fold(network, lower(network, scores=True), clock_hz=CLOCK_HZ, fps=FPS)
    simulator = simulate.Simulator.of_plan(plan, accelerator.verilog(plan))
    start = time.perf_counter()
    simulator.program()
    compiling = time.perf_counter() - start
    frames = simulate.encode(network, images)
    result = min((simulator.run(frames) for _ in range(3)), key=lambda r: r.seconds)
    print(f"{name}: the simulator was compiled, or found in the cache, in {compiling:.1f} s", file=sys.stderr)
    return {"what": f"Verilator, {name}, {plan.cycles_per_inference} cycles per image", "images": len(images),
            "seconds": result.seconds, "images_per_s": len(images) / result.seconds, "peak_memory_mb": None}


def main():
    images = datasets.load("mnist", "test").images
    rows = [build("mnist-tfc"), build("mnist-sfc"), golden("784-256-256-256-10", wide_network(), images),
            golden("mnist-tfc", models.load("mnist-tfc").network, images),
            verilator("mnist-tfc", images), verilator("mnist-sfc", images)]
    publish("speed", rows, versions("verilator", "c++"))


if __name__ == "__main__":
    main()
