"""bnnhw: from a trained binarized neural network to a bitstream on an open FPGA board, every step exact.

The whole path from Python::

    import bnnhw

    found = bnnhw.models.load("mnist-tfc")                              # or the path of a .bnn file
    stages = bnnhw.lower.lower(found.network, scores=True)
    plan = bnnhw.folding.fold(found.network, stages, clock_hz=24_000_000, fps=100_000)
    verilog = bnnhw.accelerator.verilog(plan)
    images, labels = bnnhw.models.test_images()
    chip = bnnhw.simulator.Simulator.of_plan(plan, verilog, taps=bnnhw.accelerator.taps(plan))
    result = chip.run(bnnhw.simulator.encode(found.network, images), taps=True)
    assert bnnhw.compare.compare(found.network, images[..., None], result) == []   # every integer, every layer
    print((result.beats[:, -1] == labels).mean(), plan.core_fps)
"""

import importlib

__version__ = "0.1.0"


def __getattr__(name):
    """Modules are imported when first asked for, so that ``import bnnhw`` costs nothing."""
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"{__name__}.{name}":
            raise
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
