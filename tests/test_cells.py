"""The models of cells that bnnhw brings behave as the memories and products that yosys made them from, in every width.

One Verilog module with many of them is simulated twice side by side: as it stands, and as the netlist that
synthesis makes of it. Outputs are compared on every cycle.
"""
import random
import re
import subprocess
from collections import Counter
from pathlib import Path

import pytest

from bnnhw import devices, implement, netlist, tools, verilated

DEVICE = devices.find("ecp5-25f")
SWEEP = 1 << 14             # cycles in which every word is read once; then come random operations
RANDOM = 30_000
SHAPES = [(1, 16384), (2, 8192), (4, 4096), (9, 2048), (18, 1024), (36, 512)]


def contents(folder, name, width, depth):
    """Random initial contents: a file, and the Verilog that reads it."""
    rng = random.Random(name)
    file = folder / f"{name}.hex"
    file.write_text("".join(f"{rng.getrandbits(width):x}\n" for _ in range(depth)))
    return f'$readmemh("{file}", mem);'


# What happens on an edge: q the read register, rd and wr the ports' enables.
KINDS = {
    "rom": "if (rd) q <= mem[ra];",
    # The read gives what was there before (as Amaranth's read ports do), or what is written at that moment.
    "old": "if (wr) mem[wa] <= d; if (rd) q <= mem[ra];",
    "new": "if (wr) mem[wa] <= d; if (rd) q <= wr && wa == ra ? d : mem[ra];",
    "reset": "if (wr) mem[wa] <= d; if (zero) q <= 0; else if (rd) q <= mem[ra];",
    "clear": "if (wr) mem[wa] <= d; end always @(posedge clk, posedge zero) begin if (zero) q <= 0; else if (rd) q <= mem[ra];",
    # One address for both.
    "single_keep": "if (rd) begin if (wr) mem[ra] <= d; else q <= mem[ra]; end",
    "single_old": "if (rd) begin if (wr) mem[ra] <= d; q <= mem[ra]; end",
    "single_new": "if (rd) begin if (wr) begin mem[ra] <= d; q <= d; end else q <= mem[ra]; end",
}


def module(folder, kind, width, depth):
    """(name, Verilog) of a memory of that kind, or of a product of the two halves of ``d``."""
    name, bits, attribute, output = f"{kind}_{width}x{depth}", (depth - 1).bit_length(), 'ram_style = "block"', "output reg"
    half = width // 2
    if kind == "product":
        output, body = "output", f"assign q = d[{width - 1}:{half}] * d[{half - 1}:0];"
    elif kind == "signed":
        output, body = "output", f"assign q = $signed(d[{width - 1}:{half}]) * $signed(d[{half - 1}:0]);"
    elif kind == "lut":         # read without a clock
        attribute, output = 'ram_style = "distributed"', "output"
        body = "always @(posedge clk) if (wr) mem[wa] <= d; assign q = mem[ra];"
    else:
        if kind == "rom":
            attribute = 'rom_style = "block"'
        if kind == "bytes":     # each nine bits have their own enable
            edge = "".join(f"if (wr && b[{k}]) mem[wa][{9 * k} +: 9] <= d[{9 * k} +: 9]; " for k in range(width // 9)) \
                + "if (rd) q <= mem[ra];"
        else:
            edge = KINDS[kind]
        body = f"initial q = 0; always @(posedge clk) begin {edge} end"
    return name, f"""
module {name}(input clk, input wr, rd, zero, input [3:0] b, input [{bits - 1}:0] wa, ra, input [{width - 1}:0] d,
    {output} [{width - 1}:0] q);
  (* {attribute} *) reg [{width - 1}:0] mem [0:{depth - 1}];
  initial {contents(folder, name, width, depth)}
  {body}
endmodule
"""


def beside(folder, memories, models, device=DEVICE):
    """For each of ``memories`` (kind, width, depth): (cycles on which it and its netlist differed, the netlist)."""
    modules = [module(folder, *memory) for memory in memories]
    calls, outputs, differ = [], [], []
    for (name, _), (_, width, depth) in zip(modules, memories, strict=True):
        bits = (depth - 1).bit_length()
        # First every address in turn; then random ones, mostly from a few, that the ports meet often.
        few = min(bits, 3)
        ra, wa = (f"r[0] ? r[{start} +: {bits}] : {bits}'d0 + r[{start} +: {few}]" for start in (16, 32))
        ra = f"n < {SWEEP} ? n[{bits - 1}:0] : {ra}"
        within = f"(({{0}}) < {depth} ? ({{0}}) : {bits}'d0)"
        calls.append(f"  {name} {name}_i(.clk(clk), .wr(n >= {SWEEP} && r[1]), .rd(n < {SWEEP} || r[3:2] != 0), "
                     f".zero(n >= {SWEEP} && r[6:4] == 0), .b(r[10:7]), .wa({within.format(wa)}), .ra({within.format(ra)}), "
                     f".d(r[64 +: {width}]), .q(q_{name}));")
        outputs.append(f"output [{width - 1}:0] q_{name}")
        differ.append(f"  wire [{width - 1}:0] x_{name}, y_{name}; assign differ[{len(differ)}] = x_{name} != y_{name};")
    source = "".join(text for _, text in modules) + "module memories(input clk, input [255:0] r, input [31:0] n,\n  " \
        + ",\n  ".join(outputs) + ");\n" + "\n".join(calls) + "\nendmodule\n"
    (folder / "memories.v").write_text(source)
    implement.synthesize([folder / "memories.v"], "memories", device, netlist=folder / "memories.json", part="memories",
                         part_verilog=folder / "netlist.v")
    mapped = (folder / "netlist.v").read_text()
    words = max(3, -(-len(differ) // 32))       # wide enough to be an array in C++
    ports = {side: "".join(f", .q_{name}({side}_{name})" for name, _ in modules) for side in "xy"}
    top = "\n".join([
        f"module beside(input clk, input [255:0] r, input [31:0] n, output [{32 * words - 1}:0] differ);", *differ,
        f"  memories a(.clk(clk), .r(r), .n(n){ports['x']});",
        f"  synthesized b(.clk(clk), .r(r), .n(n){ports['y']});",
        "endmodule", ""])
    harness = folder / "cells.cpp"
    harness.write_text(f"#define OUTPUTS {len(differ)}\n" + Path(__file__).with_name("cells.cpp").read_text())
    program = verilated.compile(models + mapped.replace("module memories(", "module synthesized(") + source + top, harness,
                                top="beside", optimize="-O1")
    done = subprocess.run([program, str(SWEEP + RANDOM)], capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()], mapped


def data_widths(mapped):
    """How many block RAMs have which pair of data widths."""
    return Counter(zip(*(map(int, re.findall(rf"\.DATA_WIDTH_{port}\(32'd(\d+)\)", mapped)) for port in "AB"), strict=True))


ALL = [
    *(("rom", *shape) for shape in SHAPES), *(("old", *shape) for shape in SHAPES),
    ("new", 9, 2048), ("new", 36, 512), ("reset", 18, 1024), ("clear", 18, 1024), ("bytes", 18, 1024), ("bytes", 36, 512),
    *((kind, *shape) for kind in ("single_keep", "single_old", "single_new") for shape in ((4, 4096), (18, 1024))),
    ("rom", 72, 300), ("old", 5, 700), ("lut", 4, 16), ("lut", 7, 30),
    ("product", 36, 2), ("product", 20, 2), ("signed", 36, 2), ("signed", 24, 2),
]
FEW = [("rom", 18, 1024), ("rom", 2, 500), ("old", 4, 4096), ("old", 36, 512), ("bytes", 36, 300), ("reset", 18, 1024)]


def test_every_width(tmp_path):
    counts, mapped = beside(tmp_path, ALL, netlist.cell_models(DEVICE))
    assert counts == [0] * len(ALL)
    found = data_widths(mapped)
    assert {(width, width) for width, _ in SHAPES} <= set(found)
    assert sum(found.values()) >= len(ALL) - 6 and mapped.count("TRELLIS_DPR16X4 #(") >= 3
    assert mapped.count("  MULT18X18D ") == 4
    for cell in ("LUT4", "TRELLIS_FF"):
        assert f"  {cell} #(" in mapped
    assert {"NORMAL", "READBEFOREWRITE", "WRITETHROUGH"} == set(re.findall(r'WRITEMODE_[AB]\("(\w+)"\)', mapped))
    assert {"SYNC", "ASYNC"} == set(re.findall(r'\.RESETMODE\("(\w+)"\)', mapped))


# What may be wrong in the model, and what of FEW must notice.
FAULTS = [
    ("INITVAL[40 * k + 20 +: 18]", "INITVAL[36 * k + 18 +: 18]", (0, 1, 2, 3, 4, 5)),     # half rows without gaps
    pytest.param("{INITVAL[40 * k + 20 +: 18], INITVAL[40 * k +: 18]}", "{INITVAL[40 * k +: 18], INITVAL[40 * k + 20 +: 18]}",
                 (0, 1, 2, 3, 4, 5), marks=pytest.mark.slow),
    pytest.param("9 * a[4:3] + {a[2], 2'b00}", "8 * a[4:3] + {a[2], 2'b00}", (2,), marks=pytest.mark.slow),
    pytest.param("{{9{enables[3]}}, {9{enables[2]}}", "{{9{enables[2]}}, {9{enables[3]}}", (4,), marks=pytest.mark.slow),
    pytest.param("? word_b[35:18] : word_b[17:0]", "? word_b[17:0] : word_b[17:0]", (3, 4), marks=pytest.mark.slow),
    pytest.param("if (RSTB) word_b <= 0;", "if (RSTB & CEB) word_b <= 0;", (5,), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("right, wrong, seen", FAULTS)
def test_faults_are_seen(tmp_path, right, wrong, seen):
    models = netlist.cell_models(DEVICE)
    assert models.count(right) == 1
    counts, _ = beside(tmp_path, FEW, models.replace(right, wrong))
    assert [count > 0 for count in counts] == [k in seen for k in range(len(FEW))]


def test_unknown_settings_are_refused(tmp_path):
    """What the model does not know does not simulate at all."""
    models = netlist.cell_models(DEVICE)
    with pytest.raises(tools.ToolError, match="DP16KD_output_registers_are_not_modelled"):
        beside(tmp_path, FEW[:1], models.replace('REGMODE_A != "NOREG"', 'REGMODE_A == "NOREG"'))


MEETING = """
module beside(input clk, input [255:0] r, input [31:0] n, output [95:0] differ);
  wire [17:0] d = r[81:64], q;
  reg [17:0] mem [0:3], expected = 0;
  integer k;
  initial for (k = 0; k < 4; k = k + 1) mem[k] = 0;
  always @(posedge clk) begin
    expected <= r[4] && r[1:0] == r[3:2] ? ~d : mem[r[3:2]];
    if (r[4]) mem[r[1:0]] <= d;
  end
  DP16KD ram(.CLKA(clk), .CEA(1'b1), .WEA(r[4]), .ADA0(1'b1), .ADA1(1'b1), .ADA4(r[0]), .ADA5(r[1]),
    .CLKB(clk), .CEB(1'b1), .WEB(1'b0), .ADB4(r[2]), .ADB5(r[3]), %s);
  assign differ[0] = q != expected;
endmodule
"""


def test_ports_that_meet(tmp_path):
    """A reader that meets a writer gets the complement of what is written: no design can rely on it unseen."""
    pins = ", ".join(f".DIA{k}(d[{k}]), .DOB{k}(q[{k}])" for k in range(18))
    harness = tmp_path / "cells.cpp"
    harness.write_text("#define OUTPUTS 1\n" + Path(__file__).with_name("cells.cpp").read_text())
    for models, met in ((netlist.cell_models(DEVICE), False),
                        (netlist.cell_models(DEVICE).replace("if (meet) row_b", "if (0) row_b"), True)):
        program = verilated.compile(models + MEETING % pins, harness, top="beside")
        done = subprocess.run([program, "1000"], capture_output=True, text=True, check=True)
        assert (int(done.stdout) > 0) == met
