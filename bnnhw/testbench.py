"""The plain self-checking testbench of a build: Verilog and .hex vectors, for any simulator."""


import numpy as np

from . import reference
from .accelerator import TOP
from .simulator import encode
from .verify import frames_for

__all__ = ["FRAMES", "files"]

FRAMES = 8              # whole frames; a short and a long one follow
PATIENCE_INTERVALS = 8  # planned intervals and latencies without a result beat, stalls included, after which it gives up

TEMPLATE = """\
// Plays frames to {top} and compares every result beat. Network SHA-256: {digest}
// The last line printed is PASS or FAIL; a failure ends with $fatal. Run it in this folder, for instance with
//   $ verilator --binary --timing -CFLAGS -std=c++20 -Wno-lint -Wno-style --top-module {top}_tb {name}_tb.v {name}.v
//   $ ./obj_dir/V{top}_tb
// or
//   $ iverilog -g2005 -s {top}_tb -o {name}_tb.vvp {name}_tb.v {name}.v
//   $ vvp {name}_tb.vvp
//
// Both files are Verilog-2005, not SystemVerilog, in which an initial value is no event: registers would start as x.
//
// {name}_tb_input.hex: a word per beat, {{{inputs_are}}}. {frames} whole frames, then a packet that is too short
// and one that is too long. {name}_tb_expected.hex: {{m_axis_tuser, m_axis_tlast, m_axis_tdata}}, from the golden model.

`timescale 1ns / 1ps

module {top}_tb;
    localparam INPUTS = {inputs};         // beats
    localparam OUTPUTS = {outputs};
    localparam STALLS_FROM = {stalls_from};    // beat of the input from which both sides stall at random
    localparam PATIENCE = {patience};       // cycles without a result beat

    reg [{most}:0] inputs [0:INPUTS - 1];
    reg [{out_bits} + 1:0] expected [0:OUTPUTS - 1];
    initial begin
        $readmemh("{name}_tb_input.hex", inputs);
        $readmemh("{name}_tb_expected.hex", expected);
    end

    reg aclk = 0;
    always #5 aclk = ~aclk;

    reg aresetn = 0;
    reg [{in_bits} - 1:0] s_axis_tdata = 0;
    reg s_axis_tvalid = 0;
    reg s_axis_tlast = 0;
{task_register}    reg m_axis_tready = 0;
    wire s_axis_tready;
    wire [{out_bits} - 1:0] m_axis_tdata;
    wire m_axis_tvalid;
    wire m_axis_tlast;
    wire m_axis_tuser;
    wire [{out_bits} + 1:0] got = {{m_axis_tuser, m_axis_tlast, m_axis_tdata}};

    {top} dut (
        .aclk(aclk), .aresetn(aresetn),
        .s_axis_tdata(s_axis_tdata), .s_axis_tvalid(s_axis_tvalid), .s_axis_tready(s_axis_tready),
        .s_axis_tlast(s_axis_tlast),{task_port}
        .m_axis_tdata(m_axis_tdata), .m_axis_tvalid(m_axis_tvalid), .m_axis_tready(m_axis_tready),
        .m_axis_tlast(m_axis_tlast), .m_axis_tuser(m_axis_tuser)
    );

    integer cycle = 0;
    integer quiet = 0;
    integer sent = 0;
    integer taken = 0;
    integer drain = 0;
    reg [31:0] noise = 32'h2545f491;    // xorshift, a step per cycle
    reg [31:0] mixed;

    always @(posedge aclk) begin
        cycle <= cycle + 1;
        mixed = noise ^ (noise << 13);
        mixed = mixed ^ (mixed >> 17);
        noise <= mixed ^ (mixed << 5);
        if (cycle == 4)
            aresetn <= 1;

        // Source: once offered, a beat stands until it is taken.
        if (cycle > 5) begin
            if (!s_axis_tvalid || s_axis_tready) begin
                if (sent < INPUTS && (sent < STALLS_FROM || noise[0])) begin
                    {{{inputs_are}}} <= inputs[sent];
                    s_axis_tvalid <= 1;
                    sent <= sent + 1;
                end else begin
                    s_axis_tvalid <= 0;
                end
            end
            m_axis_tready <= sent < STALLS_FROM || noise[7:6] == 0;
        end

        // Sink.
        quiet <= quiet + 1;
        if (m_axis_tvalid && m_axis_tready) begin
            quiet <= 0;
            taken <= taken + 1;
            if (taken >= OUTPUTS) begin
                $display("FAIL: a result beat too many in cycle %0d", cycle);
                $fatal(1);
            end else if (got !== expected[taken]) begin
                $display("FAIL: result %0d, beat %0d: expected %h, got %h (tuser, tlast, tdata) in cycle %0d",
                         taken / {beats}, taken % {beats}, expected[taken], got, cycle);
                $fatal(1);
            end
        end
        if (taken == OUTPUTS) begin
            drain <= drain + 1;
            if (drain == 300) begin
                $display("PASS: %0d results in %0d cycles", OUTPUTS / {beats}, cycle);
                $finish;
            end
        end else if (quiet == PATIENCE) begin
            $display("FAIL: no result beat for %0d cycles; %0d of %0d came", quiet, taken, OUTPUTS);
            $fatal(1);
        end
    end
endmodule
"""


def _packets(plan, x):
    """(bytes of each packet, whether it is a whole frame); the last two are cut short and lengthened by a beat."""
    frames = encode(plan.network, x)
    beat = plan.input_lanes * plan.element_bytes
    packets = [(frame, True) for frame in frames]
    if frames.shape[1] > beat:
        packets.append((frames[0][:-beat], False))
    packets.append((np.concatenate([frames[-1], frames[0][:beat]]), False))
    return packets, beat


def _results(plan, packets, task):
    """What each packet gives, int64 array (N, result_beats): the golden model on the frame that is made of it."""
    network = plan.network
    type = network.types[network.inputs[0]]
    size = plan.frame_elements * plan.element_bytes
    frames = np.array([np.resize(np.append(packet, np.zeros(size, np.uint8)), size) for packet, _ in packets])
    codes = frames.reshape(len(frames), -1, plan.element_bytes).astype(np.int64) << 8 * np.arange(plan.element_bytes)
    x = type.lo + type.step * codes.sum(axis=2).reshape(-1, *type.shape)
    output = network.outputs[0]
    scores = network.operations[output].inputs[0]
    edges = reference.run(network, x, keep=[scores, output], task=task)
    return np.concatenate([*([edges[scores]] if plan.scores else []), edges[output][:, None]], axis=1)


def files(plan, name, frames=FRAMES):
    """The testbench of a build.

    Parameters
    ----------
    plan : Plan
    name : str
        The build's; its Verilog is ``NAME.v``.
    frames : int
        Whole frames that it plays: test images where they fit the network, else random values. The first half of the
        packets comes and goes without stalls, the second with random ones on both sides.

    Returns
    -------
    dict file name -> text
        ``NAME_tb.v``, ``NAME_tb_input.hex`` and ``NAME_tb_expected.hex``.
    """
    x, _, task = frames_for(plan.network, frames)
    packets, beat = _packets(plan, x)
    task_bits = (plan.tasks - 1).bit_length()
    if task is not None:
        task = np.resize(task, len(packets))
    numbers = np.zeros(len(packets), int) if task is None else task
    in_bits, out_bits = 8 * beat, 8 * plan.bytes_per_beat
    inputs, expected, beats = [], [], plan.result_beats
    for (packet, _), number in zip(packets, numbers.tolist(), strict=True):
        words = packet.reshape(-1, beat)
        # Of later beats another task, which must not count.
        inputs += [int.from_bytes(word.tobytes(), "little") | (k == len(words) - 1) << in_bits
                   | ((~number if k else number) & (1 << task_bits) - 1) << in_bits + 1 for k, word in enumerate(words)]
    for (_, whole), values in zip(packets, _results(plan, packets, task).tolist(), strict=True):
        expected += [value % (1 << out_bits) | (k == beats - 1) << out_bits | (not whole) << out_bits + 1
                     for k, value in enumerate(values)]
    text = TEMPLATE.format(
        top=TOP, name=name, digest=plan.network.digest, frames=frames, inputs=len(inputs), outputs=len(expected),
        most=in_bits + task_bits, inputs_are=("s_axis_tuser, " if task_bits else "") + "s_axis_tlast, s_axis_tdata",
        task_register=f"    reg [{task_bits - 1}:0] s_axis_tuser = 0;\n" if task_bits else "",
        task_port=" .s_axis_tuser(s_axis_tuser)," if task_bits else "",
        stalls_from=frames // 2 * (plan.frame_elements // plan.input_lanes), in_bits=in_bits, out_bits=out_bits,
        beats=beats, patience=PATIENCE_INTERVALS * (plan.cycles_per_inference + plan.latency_cycles + 100))
    digits = [-(-bits // 4) for bits in (in_bits + 1 + task_bits, out_bits + 2)]
    return {
        f"{name}_tb.v": text,
        f"{name}_tb_input.hex": "".join(f"{word:0{digits[0]}x}\n" for word in inputs),
        f"{name}_tb_expected.hex": "".join(f"{word:0{digits[1]}x}\n" for word in expected),
    }
