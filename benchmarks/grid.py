"""The designs of ``calibrate.py``: those to which constants are fitted, and those kept out of the fit."""

from bnnhw import boards

__all__ = ["all_designs", "fitted", "kept_out"]

CELLS_ON = ("up5k", "ecp5-25f", "gw1nr-9")         # cells do not depend on the size of the device
ROUTED_ON = ("up5k", "ecp5-25f", "ecp5-25f-8", "ecp5um5g-85f", "hx8k", "gw1nr-9", "gw2a-18")

UNITS = [
    "slice bits=12", "slice bits=60", "up bits=1 lanes=4 ratio=4", "up bits=1 lanes=8 ratio=7", "up bits=9 lanes=2 ratio=5",
    "up bits=1 lanes=2 ratio=32", "down bits=1 lanes=4 ratio=4", "down bits=1 lanes=8 ratio=7", "down bits=12 lanes=1 ratio=5",
    "down bits=1 lanes=2 ratio=32", "fifo bits=8 depth=16", "fifo bits=12 depth=60", "fifo bits=4 depth=6",
    "fifo bits=16 depth=500",
    "fifo bits=1 depth=1100", "fork bits=8 first=0 second=0", "fork bits=12 first=0 second=100",
    "fork bits=6 first=0 second=20 third=0",
    "top lanes=1 beats=784 result=1 frames=4", "top lanes=4 beats=196 result=2 frames=5",
    "top lanes=16 beats=49 result=2 frames=7",
    "top lanes=28 beats=28 result=1 frames=6", "input elements=128 lanes=16 bits=8",
    "scores classes=10 bits=9", "scores classes=10 bits=7 step=1", "scores classes=100 bits=12", "class classes=10 bits=9",
    "class classes=32 bits=12", "class classes=10 bits=7 lanes=10", "class classes=16 bits=11 lanes=16",
    "thermometer elements=64 channels=1 bits=8 levels=1 lanes=8", "thermometer elements=64 channels=1 bits=8 levels=4 lanes=4",
    "thermometer elements=112 channels=28 bits=8 levels=3 lanes=4",
    "thermometer elements=784 channels=784 bits=8 levels=1 lanes=4",
    "thermometer elements=392 channels=196 bits=8 levels=4 lanes=1",
    "threshold elements=64 channels=1 bits=8 levels=1 lanes=16", "threshold elements=64 channels=1 bits=12 levels=3 lanes=4",
    "threshold elements=128 channels=16 bits=13 levels=1 lanes=1", "threshold elements=128 channels=16 bits=12 levels=1 lanes=4",
    "threshold elements=128 channels=32 bits=8 levels=3 lanes=4 falling=0",
    "threshold elements=64 channels=16 bits=10 levels=15 lanes=2",
    "threshold elements=128 channels=128 bits=8 levels=1 lanes=2", "threshold elements=96 channels=96 bits=11 levels=7 lanes=1",
    "threshold elements=64 channels=8 bits=9 levels=1 lanes=4", "threshold elements=128 channels=64 bits=10 levels=3 lanes=2",
    "threshold elements=256 channels=256 bits=12 levels=1 lanes=1", "threshold elements=64 channels=1 bits=8 levels=1 lanes=4",
    "fifo bits=24 depth=12", "fifo bits=20 depth=40", "fifo bits=3 depth=120", "fork bits=4 first=16 second=60",
    "affine elements=64 channels=16 bits=8 scale=4 width=12 lanes=1",
    "affine elements=64 channels=16 bits=8 scale=6 width=14 lanes=4",
    "affine elements=64 channels=32 bits=10 scale=8 width=18 lanes=2",
    "affine elements=64 channels=64 bits=8 scale=3 width=11 lanes=8",
    "affine elements=64 channels=16 bits=8 scale=5 width=14 lanes=4 signed=1",
    "affine elements=64 channels=1 bits=9 scale=7 width=16 lanes=4",
    "affine elements=60 channels=10 bits=12 scale=5 width=17 lanes=1 signed=1",
    *(f"rom bits={bits} words={words} memory=lut" for bits, words in (
        (20, 8), (60, 8), (40, 12), (30, 16), (24, 20), (64, 32), (16, 40), (8, 64), (30, 96), (40, 100), (16, 128), (6, 256),
        (1, 1024))),
    "threshold elements=128 channels=16 bits=13 levels=15 lanes=1", "threshold elements=64 channels=8 bits=14 levels=7 lanes=2",
    "threshold elements=96 channels=24 bits=11 levels=3 lanes=8", "threshold elements=128 channels=16 bits=12 levels=15 lanes=4",
    "affine elements=64 channels=16 bits=8 scale=3 width=11 lanes=2",
    "affine elements=64 channels=32 bits=9 scale=5 width=14 lanes=1",
    "affine elements=64 channels=64 bits=12 scale=4 width=16 lanes=1",
    "add elements=64 bits=8 other=8 scale=1 lanes=4", "add elements=64 bits=10 other=4 scale=1 lanes=16",
    "add elements=64 bits=11 other=10 scale=5 lanes=2", "add elements=64 bits=8 other=12 scale=3 lanes=1",
    "maxpool size=26 channels=32 kernel=2 bits=1 lanes=1 mixed=0 depth=1600",
    "maxpool size=26 channels=32 kernel=2 bits=1 lanes=4 mixed=1 depth=448",
    "maxpool size=12 channels=16 kernel=2 bits=1 lanes=16 mixed=0 depth=40",
    "maxpool size=8 channels=64 kernel=2 bits=4 lanes=8 mixed=1 depth=130",
    "maxpool size=13 channels=48 kernel=3 bits=8 lanes=4 mixed=0 depth=470",
    "maxpool size=10 channels=16 kernel=2 bits=12 lanes=2 mixed=0 depth=176",
    "maxpool size=28 channels=24 kernel=2 bits=1 lanes=24 mixed=1 depth=60",
    "sumpool size=13 channels=48 kernel=3 bits=8 lanes=4 depth=400",
    "sumpool size=6 channels=32 kernel=6 bits=1 lanes=8 depth=150",
    "depthwise size=14 channels=16 kernel=3 pe=1 memory=bram depth=700",
    "depthwise size=8 channels=32 kernel=3 pe=16 memory=lut depth=50",
    "depthwise size=12 channels=16 kernel=3 pe=4 memory=bram bits=1 width=4 pad=1 depth=112",
    "depthwise size=18 channels=20 kernel=3 pe=5 memory=bram bits=3 width=7 pad=1 offset=9 depth=170",
    "depthwise size=16 channels=30 kernel=3 pe=10 memory=bram pad=1 depth=120",
    "depthwise size=20 channels=24 kernel=3 pe=8 memory=bram bits=4 width=9 pad=1 depth=130",
]
BOARDS = ["board lanes=1 beats=784 result=2 results=11 frames=5", "board lanes=16 beats=49 result=2 results=11 frames=5"]
DENSE = [
    "dense n_in=64 n_out=32 pe=16 simd=4 memory=lut", "dense n_in=128 n_out=64 pe=16 simd=1 memory=bram bits=2",
    "dense n_in=256 n_out=128 pe=2 simd=32 memory=bram width=9", "dense n_in=512 n_out=40 pe=1 simd=2 memory=bram masked=1",
    "dense n_in=784 n_out=64 pe=1 simd=14 memory=bram masked=1", "dense n_in=64 n_out=32 pe=2 simd=8 memory=lut",
    "dense n_in=128 n_out=64 pe=4 simd=16 memory=bram", "dense n_in=256 n_out=32 pe=8 simd=32 memory=bram",
    "dense n_in=256 n_out=128 pe=16 simd=8 memory=bram", "dense n_in=96 n_out=48 pe=4 simd=6 memory=bram bits=2",
    "dense n_in=64 n_out=64 pe=1 simd=1 memory=lut", "dense n_in=64 n_out=64 pe=32 simd=2 memory=lut",
    "dense n_in=784 n_out=64 pe=4 simd=49 memory=bram", "dense n_in=1024 n_out=16 pe=1 simd=64 memory=bram",
    "dense n_in=256 n_out=10 pe=10 simd=8 memory=bram width=9", "dense n_in=256 n_out=10 pe=1 simd=16 memory=lut width=9",
    "dense n_in=64 n_out=10 pe=2 simd=4 memory=lut width=9 offset=60", "dense n_in=128 n_out=8 pe=8 simd=8 memory=bram bits=8",
    "dense n_in=120 n_out=32 pe=8 simd=12 memory=bram", "dense n_in=512 n_out=256 pe=4 simd=8 memory=bram",
    "dense n_in=96 n_out=48 pe=8 simd=48 memory=bram", "dense n_in=64 n_out=64 pe=8 simd=8 memory=bram",
]
CONV = [
    "conv size=12 channels=16 n_out=16 kernel=3 pe=4 simd=4 memory=bram depth=108",
    "conv size=28 channels=1 n_out=16 kernel=3 pe=8 simd=1 memory=bram bits=8 depth=118",
    "conv size=28 channels=1 n_out=16 kernel=3 pe=1 simd=1 memory=lut bits=8 depth=59",
    "conv size=14 channels=16 n_out=32 kernel=3 pe=8 simd=16 memory=bram pad=1 depth=31",
    "conv size=8 channels=8 n_out=16 kernel=3 pe=2 simd=8 memory=bram depth=38",
    "conv size=16 channels=32 n_out=32 kernel=3 pe=4 simd=32 memory=bram depth=70",
    "conv size=28 channels=3 n_out=24 kernel=5 pe=2 simd=3 memory=bram bits=8 depth=250",
    "conv size=32 channels=64 n_out=8 kernel=3 pe=1 simd=8 memory=bram depth=1072",
    "conv size=8 channels=4 n_out=8 kernel=2 pe=8 simd=2 memory=lut depth=40",
    "conv size=12 channels=16 n_out=16 kernel=3 pe=2 simd=8 memory=bram pad=1 borders=0 depth=54 width=8",
    "conv size=14 channels=16 n_out=16 kernel=5 pe=8 simd=4 memory=bram stride=2 depth=250",
    "conv size=6 channels=16 n_out=64 kernel=3 pe=16 simd=8 memory=bram depth=60",
    "conv size=13 channels=32 n_out=64 kernel=3 pe=1 simd=4 memory=bram depth=400",
    "conv size=13 channels=16 n_out=16 kernel=3 pe=16 simd=16 memory=bram pad=1 fill=1 depth=29 width=8",
    "conv size=16 channels=16 n_out=24 kernel=3 pe=3 simd=16 memory=bram masked=1 depth=70",
    "conv size=10 channels=48 n_out=48 kernel=3 pe=6 simd=24 memory=bram pad=1 depth=60",
]

REGISTERED = [      # options that put registers into the longest paths
    "dense n_in=128 n_out=64 pe=4 simd=16 memory=bram registers=1",
    "dense n_in=256 n_out=32 pe=8 simd=32 memory=bram registers=2",
    "dense n_in=64 n_out=32 pe=2 simd=8 memory=lut registers=2",
    "dense n_in=96 n_out=48 pe=4 simd=6 memory=bram bits=2 registers=1",
    "dense n_in=128 n_out=64 pe=4 simd=16 memory=bram registers=1 slices=1",
    "conv size=16 channels=32 n_out=32 kernel=3 pe=4 simd=32 memory=bram depth=70 registers=3",
    "conv size=12 channels=16 n_out=16 kernel=3 pe=4 simd=4 memory=bram depth=108 slices=1",
    "depthwise size=12 channels=16 kernel=3 pe=4 memory=bram bits=1 width=4 pad=1 depth=112 slices=1",
    "sumpool size=13 channels=48 kernel=3 bits=8 lanes=4 depth=400 slices=1",
]
WIDE = [        # (design, device): memories of several block RAMs side by side
    ("dense n_in=1024 n_out=16 pe=8 simd=64 memory=bram", "up5k"),
    ("dense n_in=256 n_out=32 pe=8 simd=64 memory=bram bits=2", "up5k"),
]
PADDED = [      # lanes that do not divide the sizes
    "dense n_in=784 n_out=64 pe=13 simd=16 memory=bram", "dense n_in=64 n_out=64 pe=3 simd=8 memory=bram",
    "dense n_in=100 n_out=30 pe=7 simd=15 memory=lut", "dense n_in=128 n_out=64 pe=11 simd=24 memory=bram bits=2",
    "conv size=12 channels=16 n_out=16 kernel=3 pe=3 simd=12 memory=bram depth=108",
    "conv size=9 channels=24 n_out=32 kernel=3 pe=6 simd=16 memory=bram pad=1 depth=60",
]


def fitted():
    """Lines to fit cells to."""
    return [*UNITS, *DENSE, *CONV, *REGISTERED, *PADDED]


ROUTED = [
    "dense n_in=64 n_out=32 pe=2 simd=8 memory=lut",
    "conv size=12 channels=16 n_out=16 kernel=3 pe=4 simd=4 memory=bram depth=108",
    "dense n_in=256 n_out=32 pe=8 simd=32 memory=bram", "top lanes=4 beats=196 result=2 frames=5", "scores classes=10 bits=9",
    "dense n_in=128 n_out=64 pe=4 simd=16 memory=bram", "sumpool size=13 channels=48 kernel=3 bits=8 lanes=4 depth=400",
    "conv size=28 channels=1 n_out=16 kernel=3 pe=8 simd=1 memory=bram bits=8 depth=118",
    "affine elements=64 channels=16 bits=8 scale=6 width=14 lanes=4", "dense n_in=256 n_out=128 pe=16 simd=8 memory=bram",
    "class classes=10 bits=7 lanes=10", "fork bits=12 first=0 second=100",
    "dense n_in=96 n_out=48 pe=4 simd=6 memory=bram bits=2", "dense n_in=784 n_out=64 pe=4 simd=49 memory=bram",
    "threshold elements=128 channels=32 bits=8 levels=3 lanes=4 falling=0",
    "dense n_in=128 n_out=64 pe=4 simd=16 memory=bram registers=1",
    "dense n_in=256 n_out=32 pe=8 simd=32 memory=bram registers=2",
    "conv size=12 channels=16 n_out=16 kernel=3 pe=4 simd=4 memory=bram depth=108 slices=1",
    "scores classes=100 bits=12", "class classes=32 bits=12",
    "maxpool size=8 channels=64 kernel=2 bits=4 lanes=8 mixed=1 depth=130",
    "conv size=14 channels=16 n_out=32 kernel=3 pe=8 simd=16 memory=bram pad=1 depth=31",
    "depthwise size=12 channels=16 kernel=3 pe=4 memory=bram bits=1 width=4 pad=1 depth=112",
    "conv size=9 channels=24 n_out=32 kernel=3 pe=6 simd=16 memory=bram pad=1 depth=60",
    "depthwise size=18 channels=20 kernel=3 pe=5 memory=bram bits=3 width=7 pad=1 offset=9 depth=170",
]

# Sizes off the grid.
STAGES = [
    "dense n_in=300 n_out=45 pe=9 simd=20 memory=bram", "dense n_in=144 n_out=72 pe=6 simd=18 memory=bram",
    "dense n_in=576 n_out=10 pe=2 simd=36 memory=lut", "dense n_in=196 n_out=49 pe=7 simd=14 memory=bram bits=3 width=11",
    "conv size=11 channels=24 n_out=40 kernel=3 pe=10 simd=6 memory=bram depth=180",
    "conv size=9 channels=20 n_out=12 kernel=3 pe=3 simd=10 memory=bram pad=1 depth=42",
    "conv size=19 channels=3 n_out=18 kernel=5 pe=6 simd=3 memory=bram bits=8 depth=100",
    "maxpool size=22 channels=40 kernel=2 bits=3 lanes=5 mixed=1 depth=400",
    "sumpool size=7 channels=36 kernel=7 bits=2 lanes=6 depth=300",
    "depthwise size=15 channels=36 kernel=3 pe=6 memory=bram bits=2 width=6 pad=1 depth=200",
    "dense n_in=144 n_out=72 pe=6 simd=18 memory=bram registers=2",
    "dense n_in=300 n_out=45 pe=9 simd=20 memory=bram registers=1 slices=1",
    "conv size=9 channels=20 n_out=12 kernel=3 pe=3 simd=10 memory=bram pad=1 depth=42 registers=2",
    "dense n_in=300 n_out=45 pe=8 simd=32 memory=bram", "dense n_in=64 n_out=64 pe=22 simd=8 memory=bram",
    "conv size=11 channels=24 n_out=40 kernel=3 pe=12 simd=9 memory=bram depth=180",
]
ROUTED_STAGES = [
    "dense n_in=300 n_out=45 pe=9 simd=20 memory=bram", "sumpool size=7 channels=36 kernel=7 bits=2 lanes=6 depth=300",
    "conv size=9 channels=20 n_out=12 kernel=3 pe=3 simd=10 memory=bram pad=1 depth=42",
    "depthwise size=15 channels=36 kernel=3 pe=6 memory=bram bits=2 width=6 pad=1 depth=200",
    "maxpool size=22 channels=40 kernel=2 bits=3 lanes=5 mixed=1 depth=400", "scores classes=26 bits=11",
    "dense n_in=144 n_out=72 pe=6 simd=18 memory=bram registers=2",
    "conv size=9 channels=20 n_out=12 kernel=3 pe=3 simd=10 memory=bram pad=1 depth=42 registers=2",
]
LAYERS = [      # of shipped networks
    "layer mnist-tfc fc1 pe=8 simd=16 memory=bram", "layer mnist-sfc fc4 pe=1 simd=16 memory=bram",
    "layer mnist-cnn conv2 pe=2 simd=24 memory=bram depth=110", "layer fashion-residual conv0 pe=4 simd=1 memory=bram depth=111",
    "layer cifar10-cnv-narrow conv5 pe=2 simd=16 memory=bram depth=105", "layer fashion-cnn pool3 lanes=4 depth=240",
    "layer fashion-residual act0 lanes=2", "layer fashion-residual norm2 lanes=1",
]
# Shipped networks without a board, and on boards that they fit: (network, what is asked for, whether to route).
NETWORKS = [
    ("mnist-tfc", "device=up5k mhz=24", False), ("fashion-lut4", "device=up5k mhz=24", False),
    ("mnist-lut4", "device=up5k mhz=24", False), ("mnist-tfc", "device=gw1nr-9 mhz=27", False),
    ("mnist-cnn-small", "device=gw1nr-9 mhz=27", False), ("mnist-cnn", "device=gw2a-18 mhz=27 fps=300", False),
    ("fashion-residual", "device=ecp5-25f mhz=40 fps=100", False), ("fashion-cnn", "device=ecp5-25f mhz=40 fps=100", False),
    ("cifar10-cnv-narrow", "device=ecp5-25f mhz=40 fps=30", False), ("mnist-lut6", "device=ecp5-25f mhz=40", False),
    ("mnist-lut6-wide", "device=ecp5-25f mhz=40", False), ("mnist-sfc", "device=ecp5-25f mhz=40 fps=1000", False),
    ("mnist-cnn", "board=ulx3s-25f", False), ("mnist-cnn-small", "board=icebreaker", False),
    ("mnist-tfc", "board=ulx3s-25f", False), ("mnist-tfc", "board=tang-nano-9k", True), ("mnist-tfc", "board=icebreaker", True),
]


def kept_out():
    """(line, device, whether to route) of the designs that the fit never sees."""
    for line in [*STAGES, *LAYERS]:
        for device in CELLS_ON:
            yield line, device, False
    for line in ROUTED_STAGES:
        for device in ROUTED_ON:
            yield line, device, True
    for name, where, routed in NETWORKS:
        kind, _, found = where.split()[0].partition("=")
        yield f"network {name} {where}", boards.find(found).device if kind == "board" else found, routed


def all_designs():
    """(use, line, device, whether to route) of all."""
    for line in fitted():
        for device in CELLS_ON:
            yield "fit", line, device, False
    for line, device in WIDE:
        yield "fit", line, device, False
    for line in BOARDS:
        for device in CELLS_ON:
            yield "fit", line, device, False
    for line in ROUTED:
        for device in ROUTED_ON:
            yield "fit", line, device, True
    for line, device, routed in kept_out():
        yield "kept out", line, device, routed
