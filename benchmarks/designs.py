"""Designs out of context for ``calibrate.py``: a line of text says which, and it is always the same circuit.

A line is a kind and its parameters, ``dense n_in=64 n_out=32 pe=4 simd=8 memory=bram``. Weights, thresholds and scales are random
with the line as the seed; those of ``layer mnist-tfc fc1 ...`` are a shipped network's. Stages are built by their
:mod:`bnnhw.stages` classes, the rest by the gateware's own.
"""

import functools
import json
import random
import re

import numpy as np
from amaranth import *
from amaranth.back import verilog
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from bnnhw import accelerator, boards, devices, estimate, folding, models, planfile
from bnnhw.bitstream import identity
from bnnhw.boards.base import TOP as BOARD_TOP
from bnnhw.estimate import circuits, figures, parts, stages
from bnnhw.gateware.axi_stream import AxiStreamTop
from bnnhw.gateware.fork import Fork
from bnnhw.gateware.link import identity_of
from bnnhw.gateware.mvtu import Codes, Signs
from bnnhw.gateware.streams import RegisterSlice, StreamFifo
from bnnhw.gateware.weights import RomSource
from bnnhw.gateware.width import DownConverter, UpConverter
from bnnhw.lower import lower
from bnnhw.stages import (
    AddStage,
    AffineStage,
    ClassStage,
    ConvStage,
    DenseStage,
    DepthwiseStage,
    InputStage,
    MaxPoolStage,
    ScoresStage,
    SumPoolStage,
    ThermometerStage,
    ThresholdStage,
)

__all__ = ["HARNESS", "PLAIN", "component", "constant_stages", "estimated", "harness", "parameters", "parts_of", "plain",
           "plan_of", "verilog_of"]

HARNESS, PLAIN = "harness", "plain"       # modules around a design
CODE_BYTES = 2          # of a result beat
PIPELINE = ("registers=", "slices=")
OPTIONS = ("pe", "simd", "memory", "depth", "lanes", "registers", "slices")


def parameters(line):
    """(kind, {name: number or word}) of a design's line; names of networks and stages are not among them."""
    kind, *words = line.split()
    pairs = (word.split("=") for word in words if "=" in word)
    return kind, {name: int(value) if value.lstrip("-").isdigit() else value for name, value in pairs}


def _weights(rng, shape, masked):
    return rng.choice([-1, 0, 1] if masked else [-1, 1], shape).astype(np.int8)


def _weighted(kind, p, rng):
    """A dense layer or convolution."""
    bits, masked, width = p.get("bits", 1), p.get("masked", 0), p.get("width", 1)
    kernel = (p["kernel"], p["kernel"]) if "kernel" in p else ()
    shape = {"dense": lambda: (p["n_out"], p["n_in"]), "conv": lambda: (p["n_out"], *kernel, p["channels"]),
             "depthwise": lambda: (p["channels"], *kernel)}[kind]()
    weights = _weights(rng, shape, masked)
    reach = [int(n) * (2**bits - 1) for n in np.count_nonzero(weights.reshape(shape[0], -1), axis=1)]
    pad = p.get("pad", 0)
    borders = 9 if pad and p.get("borders", 1) else 1
    if width == 1:
        spread = max(2, int(max(reach) ** 0.5))
        result = Signs([[int(r) // 2 + int(rng.integers(-spread, spread + 1)) for r in reach] for _ in range(borders)])
    else:
        offsets = rng.integers(0, p.get("offset", 0) + 1, (borders, shape[0])).tolist()
        result = Codes(offsets, p.get("scale", 1), width)
    more = {"weights": weights, "result": result, "reach": reach, "bits": bits}
    if kind == "dense":
        return DenseStage("layer", (), None, **more)
    stride = p.get("stride", 1)
    own = {"conv": ConvStage, "depthwise": DepthwiseStage}[kind]
    return own("layer", (), None, image=(p["size"], p["size"]), stride=(stride, stride), padding=(pad,) * 4,
               fill=p.get("fill", 0), **more)


def _pool(kind, p, rng):
    own = {"image": (p["size"], p["size"]), "channels": p["channels"], "kernel": (p["kernel"],) * 2,
           "stride": (p.get("stride", p["kernel"]),) * 2, "bits": p["bits"]}
    if kind == "sumpool":
        return SumPoolStage("layer", (), None, width=(p["kernel"] ** 2 * (2 ** p["bits"] - 1)).bit_length(), **own)
    mixed = p.get("mixed", 0)
    return MaxPoolStage("layer", (), None, minimum=(rng.random(p["channels"]) < 0.4 * mixed).tolist(), **own)


def _elementwise(kind, p, rng):
    elements, bits, channels = p.get("elements", 0), p["bits"], p.get("channels", 1)
    if kind == "input":
        return InputStage("layer", (), None, elements=elements, bits=bits)
    if kind == "threshold":
        levels = np.sort(rng.integers(1, 2**bits, (channels, p["levels"]))).tolist()
        return ThresholdStage("layer", (), None, elements=elements, bits=bits, levels=levels,
                              falling=(rng.random(channels) < 0.3 * p.get("falling", 1)).tolist())
    if kind == "thermometer":
        levels = np.sort(rng.integers(1, 2**bits, (channels, p["levels"]))).tolist()
        return ThermometerStage("layer", (), None, elements=elements, bits=bits, levels=levels)
    scale = rng.integers(1, 2 ** p["scale"], channels)
    sign = rng.choice([-1, 1], channels) if p.get("signed", 0) else 1
    return AffineStage("layer", (), None, elements=elements, bits=bits, width=p["width"], scale=(scale * sign).tolist(),
                       offset=rng.integers(0, 2 ** (p["width"] - 1), channels).tolist())


def _shipped(line):
    """(Stage, Options) of a line ``layer NETWORK STAGE ...``: of a shipped network, with its own weights."""
    _, network, name, *_ = line.split()
    _, table = parameters(line)
    stage = next(stage for stage in lower(models.load(network).network, scores=True) if stage.name == name)
    return stage, stage.parse(table | {"kind": stage.kind})


@functools.cache
def _stage(line):
    """(Stage, Options) of a line that names a kind of stage; None for others."""
    if line.startswith("layer "):
        return _shipped(line)
    kind, p = parameters(line)
    same = " ".join(word for word in line.split() if not word.startswith(PIPELINE))      # with more registers, too
    rng = np.random.default_rng(random.Random(same).getrandbits(64))
    if kind in ("dense", "conv", "depthwise"):
        stage = _weighted(kind, p, rng)
    elif kind in ("maxpool", "sumpool"):
        stage = _pool(kind, p, rng)
    elif kind in ("input", "threshold", "thermometer", "affine"):
        stage = _elementwise(kind, p, rng)
    elif kind == "add":
        width = max(p["bits"] + p["scale"].bit_length() - 1, p["other"]) + 1
        stage = AddStage("layer", (), None, elements=p["elements"], bits=(p["bits"], p["other"]), scales=(p["scale"], 1),
                         width=width)
    elif kind == "class":
        stage = ClassStage("layer", (), None, classes=p["classes"], score_bits=p["bits"], bytes_per_beat=1)
    elif kind == "scores":
        stage = ScoresStage("layer", (), None, classes=p["classes"], score_bits=p["bits"], bytes_per_beat=CODE_BYTES,
                            lo=-(2 ** (p["bits"] - 1)), step=p.get("step", 2))
    else:
        return None
    table = {name: bool(p[name]) if name == "slices" else p[name] for name in OPTIONS if name in p}
    return stage, stage.parse(table | ({} if kind in ("class", "scores") else {"kind": kind}))


@functools.cache
def plan_of(line, text):
    """The plan of a line ``network NAME board=B [fps=N]`` or ``network NAME device=D mhz=F [fps=N]``, which is without a
    board around it: what ``text``, a plan.toml, says, or where it is empty what is planned today."""
    name, (_, p) = line.split()[1], parameters(line)
    network = models.load(name).network
    if text:
        return planfile.loads(text.encode(), network, lower)
    if "board" in p:
        board = boards.find(p["board"])
        clock_hz, device = int(board.clock(board, board.clock_hz)), board.device
    else:
        clock_hz, device = p["mhz"] * 10**6, p["device"]
    return folding.fold(network, lower(network, scores=True), clock_hz=clock_hz, fps=p.get("fps"),
                        fabric=devices.find(device).family)


def component(line):
    """The Amaranth component of a line."""
    if (own := _stage(line)) is not None:
        stage, options = own
        return stage.build(options)
    kind, p = parameters(line)
    if kind in ("up", "down"):
        return {"up": UpConverter, "down": DownConverter}[kind](p["bits"], p["lanes"], p["ratio"])
    if kind == "fifo":
        return StreamFifo(p["bits"], p["depth"])
    if kind == "slice":
        return RegisterSlice(p["bits"])
    if kind == "fork":
        return Fork(p["bits"], _depths(p))
    if kind == "rom":
        rng = random.Random(line)
        return RomSource([rng.getrandbits(p["bits"]) for _ in range(p["words"])], p["bits"], p["memory"])
    assert kind == "top", line
    return _top(p)


def _depths(p):
    return tuple(p[name] for name in ("first", "second", "third") if name in p)


class _Through(wiring.Component):
    """A core that does next to nothing: each result bit is the parity of some of the input's, through a register slice."""
    def __init__(self, lanes, result_bytes):
        beat = data.StructLayout({"data": signed(8 * result_bytes), "last": 1})
        super().__init__({"i": In(stream.Signature(data.ArrayLayout(8, lanes))), "o": Out(stream.Signature(beat))})

    def elaborate(self, platform):
        m = Module()
        m.submodules.slice = out = RegisterSlice(len(self.o.p.data))
        word = Value.cast(self.i.p)
        m.d.comb += [
            out.i.p.eq(Cat(word[k::len(out.i.p)].xor() for k in range(len(out.i.p)))),
            out.i.valid.eq(self.i.valid), self.i.ready.eq(out.i.ready),
            self.o.p.data.eq(out.o.p), self.o.p.last.eq(out.o.p[0]),
            self.o.valid.eq(out.o.valid), out.o.ready.eq(self.o.ready),
        ]
        return m


def _top(p):
    """AXI4-Stream ports around next to nothing."""
    lanes, result = p["lanes"], p["result"]
    return AxiStreamTop(_Through(lanes, result), lanes=lanes, frame_elements=p["beats"] * lanes, result_beats=p.get("results", 1),
                        bytes_per_beat=result, frames_in_flight=p["frames"])


def _top_parts(p, family):
    lanes, result = p["lanes"], 8 * p["result"]
    gates = result * max(0, -(-(8 * lanes // result - 1) // 3))
    return (parts.top(lanes=lanes, beats=p["beats"], result=result, frames=p["frames"]) + parts.slice_(result)
            + figures.Parts().add(gate=gates))


def parts_of(line, device):
    """What :mod:`bnnhw.estimate` says that a line's design is made of. Not for networks, which are estimated as users do it."""
    family = device.family
    if (own := _stage(line)) is not None:
        found = stages.parts_of(*own, family)
    else:
        kind, p = parameters(line)
        found = {
            "up": lambda: parts.up(p["bits"] * p["lanes"], p["ratio"]),
            "down": lambda: parts.down(p["bits"] * p["lanes"], p["ratio"]),
            "fifo": lambda: parts.fifo(p["bits"], p["depth"], family),
            "slice": lambda: parts.slice_(p["bits"]),
            "fork": lambda: parts.fork(p["bits"], _depths(p), family),
            "rom": lambda: parts.rom(p["bits"], p["words"], p["memory"], family),
            "top": lambda: _top_parts(p, family),
            "board": lambda: _top_parts(p, family) + parts.link(lanes=p["lanes"], result_beats=p["results"],
                                                                bytes_per_beat=p["result"], family=family),
        }[kind]()
    return found + figures.Parts().add(design=1)


def constant_stages(plan):
    """(stage, options) of the layers of constants in a plan."""
    return [(element.stage, plan.options[element.name]) for element in plan.elements
            if element.stage is not None and getattr(plan.options[element.name], "style", "folded") != "folded"]


def estimated(row, device):
    """The estimate of a row's design: the parts' sum, or that of the network's plan, with the recorded figures of layers of
    constants."""
    line = row["design"]
    if not line.startswith("network"):
        return figures.evaluate(parts_of(line, device), device)
    plan = plan_of(line, row["plan"])
    for (stage, options), numbers in zip(constant_stages(plan), json.loads(row["constants"]), strict=True):
        circuits.keep(stage, options, device, figures.Estimate(*numbers))
    board = parameters(line)[1].get("board")
    around = [estimate.of_wrapper(boards.find(board), plan)] if board else []
    return figures.whole([estimate.of_plan(plan, device), *around], device)


@functools.lru_cache(maxsize=2)
def _component_verilog(line):
    return circuits.verilog_of(component(line))


def verilog_of(line, text, device):
    """(Verilog, its top module, constraints or None) of a line's design."""
    kind, p = parameters(line)
    if kind == "network" and "board" not in p:
        return accelerator.verilog(plan_of(line, text), cells=True), accelerator.TOP, None
    if kind == "network":
        plan, board = plan_of(line, text), boards.find(p["board"])
        return accelerator.verilog(plan, cells=True) + board.verilog(identity(plan)), BOARD_TOP, board.constraints(board)
    if kind == "board":
        board = next(board for board in boards.BOARDS.values() if board.device == device.name)
        facts = identity_of(bytes(range(32)), clock_hz=int(board.clock(board, board.clock_hz)),
                            frame_bytes=p["beats"] * p["lanes"], lanes=p["lanes"],
                            result_beats=p["results"], bytes_per_beat=p["result"], scores=0)
        text = verilog.convert(_top(p), name=accelerator.TOP, emit_src=False)
        return text + board.verilog(facts), BOARD_TOP, board.constraints(board)
    return _component_verilog(line), circuits.TOP, None


def _ports(text, top):
    """(direction, bits, name) of the ports of a module."""
    body = re.search(rf"^module {top}\b.*?^endmodule", text, re.M | re.S)[0]
    return [(way, int(high or 0) + 1, name)
            for way, high, name in re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);", body, re.M)]


def plain(text, top):
    """Verilog of a module around ``top`` with the same ports: yosys stumbles over names like ``i[0]`` beside a port ``i``."""
    ports = _ports(text, top)
    heads = ", ".join(f"{way} [{width - 1}:0] {name}" for way, width, name in ports)
    return f"""
module {PLAIN}({heads});
  {top} dut({", ".join(f".{name}({name})" for _, _, name in ports)});
endmodule
"""


def harness(text, top):
    """Verilog of a module around ``top`` with four pins: a shift register feeds its inputs, another one takes its outputs."""
    ports = _ports(text, top)
    ends = {"input": 0, "output": 0}
    joined = []
    for way, width, name in ports:
        if name in ("clk", "aclk"):
            joined.append(f".{name}(clk)")
            continue
        register = {"input": "feed", "output": "taken"}[way]
        joined.append(f".{name}({register}[{ends[way] + width - 1}:{ends[way]}])")
        ends[way] += width
    return f"""
module {HARNESS}(input clk, input in, input take, output out);
  reg [{ends["input"] - 1}:0] feed;
  reg [{ends["output"] - 1}:0] held;
  wire [{ends["output"] - 1}:0] taken;
  reg take_now;
  always @(posedge clk) begin
    feed <= {{feed, in}};
    take_now <= take;
    held <= take_now ? taken : held >> 1;
  end
  assign out = held[0];
  {top} dut({", ".join(joined)});
endmodule
"""
