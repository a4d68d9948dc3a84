"""Memories in Verilog, random words in their place, and both found again in what the tools make of them."""
import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bnnhw import accelerator, boards, devices, folding, implement
from bnnhw.bitstream import identity
from bnnhw.gateware.mvtu import Codes, Signs, start_words
from bnnhw.gateware.weights import PAGE, pages
from bnnhw.lower import lower
from bnnhw.planner.goals import Planner
from bnnhw.updating.base import Base, UpdateError
from bnnhw.updating.cells import FORMATS
from bnnhw.updating.contents import Memory, differing, memories, with_placeholders
from bnnhw.updating.patch import PatchError, patched

from .networks import dense_network

BOARD = boards.find("icebreaker")


def plan_of(seed, widths=(32, 10), binarize=7, scores=False):
    """An updatable plan of a random network; those that differ in their seed alone have one base."""
    network = retrained(widths, seed, binarize)
    device = devices.find(BOARD.device)
    planner = Planner(lower(network, scores=scores), device, BOARD.clock_hz, BOARD, fabric=device.family, updatable=True)
    return folding.choose(network, planner, fps=20_000).plan


def retrained(widths, seed, binarize=7):
    """Random dense layers behind always the same input."""
    network, first = (dense_network(list(widths), (4, 4, 1), seed=own) for own in (seed, binarize))
    operations = [first.operations[name] if name == "binarize" else operation for name, operation in network.operations.items()]
    return type(network)(operations, "class")


@settings(max_examples=8, deadline=None)
@given(width=st.integers(1, 70), words=st.integers(1, 3), seed=st.integers(0, 99))
def test_memories_are_read_as_they_are_written(width, words, seed):
    from amaranth.back import verilog

    from bnnhw.gateware.weights import RomSource
    rng = np.random.default_rng(seed)
    values = [int.from_bytes(rng.bytes(9), "little") % (1 << width) for _ in range(PAGE * (words - 1) + 5)]
    text = verilog.convert(RomSource(values, width, "updatable"), name="top", emit_src=False)
    memory, = memories(text).values()
    assert memory.words == (*values, *[0] * (pages(len(values)) - len(values)))
    assert (memory.bits @ (1 << np.arange(width, dtype=object))).tolist() == list(memory.words)
    other, = memories(with_placeholders(text)).values()
    assert other == memory.placeholder and len(set(other.words)) > 1
    assert with_placeholders(with_placeholders(text)) == with_placeholders(text)


def test_one_base_for_all_weights():
    first, second, other = plan_of(1), plan_of(2), plan_of(1, binarize=8)
    assert first.options == second.options and first.updatable
    texts = [accelerator.verilog(plan) for plan in (first, second, other)]
    base, same, different = map(with_placeholders, texts)
    assert texts[0] != texts[1] and base == same != different
    assert [name.split(".")[2][:8] for name in differing(base, different)] == ["binarize"]
    wrapper = [with_placeholders(BOARD.verilog(identity(plan))) for plan in (first, second)]
    assert wrapper[0] == wrapper[1]
    names = [f"bnnhw_top.core.{layer}.{part}.rom" for layer in ("fc1", "fc2") for part in ("source", "unit")]
    assert list(memories(texts[0])) == names
    assert not plan_of_logic().updatable and memories(accelerator.verilog(plan_of_logic())) == {}


def padded(plan):
    """The plan with lanes that do not divide its dense layers' sizes."""
    lanes = {"pe": 7, "simd": 5, "depth": None, "registers": 0}
    own = {stage.name: stage.parse(plan.options[stage.name].model_dump() | lanes)
           for stage in plan.stages if stage.kind == "dense"}
    return dataclasses.replace(plan, options=plan.options | own)


def test_one_base_for_all_weights_of_padded_layers():
    plans = [padded(plan_of(seed)) for seed in (1, 2)]
    assert plans[0].options == plans[1].options
    texts = [accelerator.verilog(plan) for plan in plans]
    assert texts[0] != texts[1] and with_placeholders(texts[0]) == with_placeholders(texts[1])
    assert len(memories(texts[0])) == 4


@pytest.mark.parametrize("folded", [lambda plan: plan, padded])
def test_the_plan_knows_the_memories(folded):
    plan = folded(plan_of(1, widths=(32, 16, 10)))
    assert {options.memory for options in plan.options.values() if hasattr(options, "memory")} == {"updatable"}
    made = memories(accelerator.verilog(plan))
    for stage in plan.stages:
        own = [(memory.width, len(memory.words)) for name, memory in made.items() if name.split(".")[2] == stage.name]
        assert own == stage.resources(plan.options[stage.name])["bram_words"]
    assert len(made) == 6


def plan_of_logic():
    network = retrained((6, 3), 1)
    return folding.fold(network, lower(network), clock_hz=BOARD.clock_hz, fps=10_000)


def test_refusals_name_the_layers(tmp_path):
    plan, wrapper = plan_of(1), BOARD.verilog(identity(plan_of(1)))
    base = Base(tmp_path, "net", devices.find(BOARD.device), ".asc")
    base.write_sources(accelerator.verilog(plan), wrapper)
    base.check(accelerator.verilog(plan_of(2)), BOARD.verilog(identity(plan_of(2))))
    with pytest.raises(UpdateError, match="^layer 'binarize': what is in logic differs"):
        base.check(accelerator.verilog(plan_of(1, binarize=8)), wrapper)
    with pytest.raises(UpdateError, match="^the design is another"):
        base.check(accelerator.verilog(plan), BOARD.verilog(dataclasses.replace(identity(plan), greatest=1)))


@given(pe=st.integers(1, 3), folds=st.integers(1, 3), most=st.integers(1, 40), data=st.data())
def test_starts(pe, folds, most, data):
    """Words of the memory say what the tables would, for every count that there can be; their shape does not depend on them."""
    rows = data.draw(st.lists(st.lists(st.integers(-5, 60), min_size=pe * folds, max_size=pe * folds), min_size=1, max_size=2))
    words, shape = start_words(Signs(rows), pe, most)
    assert len(words) == len(rows) * folds and shape == start_words(Signs([[0] * pe]), pe, most)[1] and shape.signed
    for border, row in enumerate(rows):
        for neuron, threshold in enumerate(row):
            word = words[border * folds + neuron // pe] >> neuron % pe * shape.width & (1 << shape.width) - 1
            for count in (0, 1, most // 2, most - 1, most):
                negative = (word + count) >> shape.width - 1 & 1
                assert (not negative) == (count >= threshold)
    codes, shape = start_words(Codes(rows, 1, 6), pe, most)
    assert (shape.width, shape.signed) == (6, False)
    assert [word >> 6 * k & 63 for word in codes for k in range(pe)] == [number % 64 for row in rows for number in row]


def in_netlist(format, cell, parameter, count, bits, layout, memory):
    """A text with one block RAM as yosys writes it that holds a memory, by the layout."""
    places = np.zeros(count * bits, int)
    columns = memory.bits
    places[layout[:len(columns), :columns.shape[1]]] = columns
    words = "".join(f"    .{parameter.format(k)}({bits}'h{int(''.join(map(str, row[::-1])), 2):x}),\n"
                    for k, row in enumerate(places.reshape(count, bits)))
    return f"module m (a);\n  {cell} #(\n{words}    .MODE(2'h0)\n  ) \\core.rom.0.0  (\n    .A(a)\n  );\nendmodule\n"


CELLS = {"ice40": ("SB_RAM40_4K", "INIT_{:X}", 16, 256), "ecp5": ("DP16KD", "INITVAL_{:02X}", 64, 320),
         "gowin": ("SPX9", "INIT_RAM_{:02X}", 64, 288)}


@pytest.mark.parametrize("family", CELLS)
def test_every_layout(family):
    """What was put in by it is found by it, and nothing is taken for what it is not."""
    cell, parameter, count, bits = CELLS[family]
    format, _ = FORMATS[family]
    for layout in format.layouts:
        own = 256 if family == "gowin" and layout.size == 16384 else bits
        memory = Memory("rom", layout.shape[1], (0,) * len(layout)).placeholder
        text = in_netlist(format, cell, parameter, count, own, layout, memory)
        new = Memory("rom", memory.width, tuple((word * 5 + k) % (1 << memory.width) for k, word in enumerate(memory.words)))
        after = patched(text, format, {"rom": memory}, {"rom": new})
        assert after == in_netlist(format, cell, parameter, count, own, layout, new) != text
        broken = re.sub(r"(?<='h)\w", lambda found: f"{int(found[0], 16) ^ 1:x}", text, count=1)
        with pytest.raises(PatchError, match=r"^memory rom: [\d,]+ of its [\d,]+ bits were not found in the design$"):
            patched(broken, format, {"rom": memory}, {"rom": new})
        with pytest.raises(PatchError, match="are more than once in the design$"):
            patched(text + text, format, {"rom": memory}, {"rom": new})


@pytest.mark.parametrize("name", ["icebreaker", pytest.param("ulx3s-25f", marks=pytest.mark.slow),
                                  pytest.param("tang-nano-9k", marks=pytest.mark.slow)])
def test_found_in_synthesis(name, tmp_path):
    """Memories of many sizes, through yosys: with random words changed to others the netlist is that of these others."""
    from amaranth import Module
    from amaranth.back import verilog
    from amaranth.lib.wiring import Component, Out

    from bnnhw.gateware.weights import RomSource
    sizes = ((1, 64), (3, 2048), (4, 1000), (9, 700), (17, 513), (40, 300), (70, 100))

    class Many(Component):
        def __init__(self):
            super().__init__({f"o{k}": Out(width) for k, (width, _) in enumerate(sizes)})

        def elaborate(self, platform):
            m = Module()
            for k, (width, words) in enumerate(sizes):
                values = np.random.default_rng(k).bytes(9 * words)
                m.submodules[f"s{k}"] = source = RomSource(
                    [int.from_bytes(values[9 * j:9 * j + 9], "little") % (1 << width) for j in range(words)], width, "updatable")
                m.d.comb += [getattr(self, f"o{k}").eq(source.o.payload), source.o.ready.eq(1)]
            return m
    text, device, made = verilog.convert(Many(), name="many", emit_src=False), devices.find(boards.find(name).device), []
    for k, source in enumerate((text, with_placeholders(text))):
        (tmp_path / f"{k}.v").write_text(source)
        implement.synthesize([tmp_path / f"{k}.v"], "many", device, netlist=tmp_path / "n.json", part="many",
                             part_verilog=tmp_path / f"{k}n.v")
        made.append((tmp_path / f"{k}n.v").read_text())
    after = memories(text)
    assert len(after) == len(sizes)
    found = patched(made[1], FORMATS[device.family][0], {key: memory.placeholder for key, memory in after.items()}, after)
    assert contents(found) == contents(made[0]) != contents(made[1])


def contents(netlist):
    """All contents of block RAMs in a netlist, in order; unknown bits are 0."""
    return [int(re.sub("[xz]", "0", digits), {"h": 16, "b": 2}[base])
            for base, digits in re.findall(r"\.INIT\w*\((?:256|288|320)'([hb])([0-9a-fxz]+)\)", netlist)]
