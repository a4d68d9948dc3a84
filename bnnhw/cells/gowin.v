// Behaviour of Gowin's block RAMs, which yosys' cell library only names. LUTs, ALUs, flip-flops and LUT RAM are yosys' own.
//
// Sources: Gowin UG285 (BSRAM and SSRAM user guide); the layout of INIT_RAM and what each pin does are what yosys' memory
// mapping (gowin/brams_map.v, brams.txt) relies on.
//
// The memory has 16,384 bits (SP, DPB), or 18,432 with a ninth bit for each eight (SPX9, SDPX9B, DPX9B). An address counts
// bits, the ninth ones apart; wide ports ignore its lowest bits, which in those of 16 and 18 bits (two) and 32 and 36 bits (four)
// enable the bytes of a write. INIT_RAM_xx holds 256 of the bits, or 288, in their order.
//
// SPX9 has one port, SDPX9B one that writes (A) and one that reads (B), DPX9B two that do both. Where two meet at the same bits on
// the same edge and one of them writes, nothing is promised: here the reader gets the complement of what is written, so that a
// design that relies on it is seen. That takes one clock for both. A reset clears the output, not the memory, and blocks no
// write. Whatever the model does not know (output registers, block selects) is an error when the design is compiled, not a wrong
// simulation.

`define BNNHW_CONTENTS(BITS) \
    parameter [BITS - 1:0] \
        INIT_RAM_00 = 0, INIT_RAM_01 = 0, INIT_RAM_02 = 0, INIT_RAM_03 = 0, INIT_RAM_04 = 0, INIT_RAM_05 = 0, INIT_RAM_06 = 0, INIT_RAM_07 = 0, \
        INIT_RAM_08 = 0, INIT_RAM_09 = 0, INIT_RAM_0A = 0, INIT_RAM_0B = 0, INIT_RAM_0C = 0, INIT_RAM_0D = 0, INIT_RAM_0E = 0, INIT_RAM_0F = 0, \
        INIT_RAM_10 = 0, INIT_RAM_11 = 0, INIT_RAM_12 = 0, INIT_RAM_13 = 0, INIT_RAM_14 = 0, INIT_RAM_15 = 0, INIT_RAM_16 = 0, INIT_RAM_17 = 0, \
        INIT_RAM_18 = 0, INIT_RAM_19 = 0, INIT_RAM_1A = 0, INIT_RAM_1B = 0, INIT_RAM_1C = 0, INIT_RAM_1D = 0, INIT_RAM_1E = 0, INIT_RAM_1F = 0, \
        INIT_RAM_20 = 0, INIT_RAM_21 = 0, INIT_RAM_22 = 0, INIT_RAM_23 = 0, INIT_RAM_24 = 0, INIT_RAM_25 = 0, INIT_RAM_26 = 0, INIT_RAM_27 = 0, \
        INIT_RAM_28 = 0, INIT_RAM_29 = 0, INIT_RAM_2A = 0, INIT_RAM_2B = 0, INIT_RAM_2C = 0, INIT_RAM_2D = 0, INIT_RAM_2E = 0, INIT_RAM_2F = 0, \
        INIT_RAM_30 = 0, INIT_RAM_31 = 0, INIT_RAM_32 = 0, INIT_RAM_33 = 0, INIT_RAM_34 = 0, INIT_RAM_35 = 0, INIT_RAM_36 = 0, INIT_RAM_37 = 0, \
        INIT_RAM_38 = 0, INIT_RAM_39 = 0, INIT_RAM_3A = 0, INIT_RAM_3B = 0, INIT_RAM_3C = 0, INIT_RAM_3D = 0, INIT_RAM_3E = 0, INIT_RAM_3F = 0; \
    localparam [64 * BITS - 1:0] CONTENTS = { \
        INIT_RAM_3F, INIT_RAM_3E, INIT_RAM_3D, INIT_RAM_3C, INIT_RAM_3B, INIT_RAM_3A, INIT_RAM_39, INIT_RAM_38, \
        INIT_RAM_37, INIT_RAM_36, INIT_RAM_35, INIT_RAM_34, INIT_RAM_33, INIT_RAM_32, INIT_RAM_31, INIT_RAM_30, \
        INIT_RAM_2F, INIT_RAM_2E, INIT_RAM_2D, INIT_RAM_2C, INIT_RAM_2B, INIT_RAM_2A, INIT_RAM_29, INIT_RAM_28, \
        INIT_RAM_27, INIT_RAM_26, INIT_RAM_25, INIT_RAM_24, INIT_RAM_23, INIT_RAM_22, INIT_RAM_21, INIT_RAM_20, \
        INIT_RAM_1F, INIT_RAM_1E, INIT_RAM_1D, INIT_RAM_1C, INIT_RAM_1B, INIT_RAM_1A, INIT_RAM_19, INIT_RAM_18, \
        INIT_RAM_17, INIT_RAM_16, INIT_RAM_15, INIT_RAM_14, INIT_RAM_13, INIT_RAM_12, INIT_RAM_11, INIT_RAM_10, \
        INIT_RAM_0F, INIT_RAM_0E, INIT_RAM_0D, INIT_RAM_0C, INIT_RAM_0B, INIT_RAM_0A, INIT_RAM_09, INIT_RAM_08, \
        INIT_RAM_07, INIT_RAM_06, INIT_RAM_05, INIT_RAM_04, INIT_RAM_03, INIT_RAM_02, INIT_RAM_01, INIT_RAM_00};

// The memory itself. UNIT is 8 or 9, WIDTH_x the widths of its ports; MODE_x says what a port reads while it writes: 0 nothing,
// and its output stays, 1 what it writes, 2 what was there.
module bnnhw_gowin_ram #(
    parameter UNIT = 9, WIDTH_A = 36, WIDTH_B = 36, MODE_A = 0, MODE_B = 0, RESET_MODE = "SYNC",
    parameter [64 * 32 * UNIT - 1:0] CONTENTS = 0
) (
    input clka, cea, wea, reseta, input [13:0] ada, input [4 * UNIT - 1:0] dia, output [4 * UNIT - 1:0] qa,
    input clkb, ceb, web, resetb, input [13:0] adb, input [4 * UNIT - 1:0] dib, output [4 * UNIT - 1:0] qb
);
    localparam ROW = 4 * UNIT;
    localparam [ROW - 1:0] NONE = 0;
    reg [ROW - 1:0] rows [0:511];
    integer k;
    initial for (k = 0; k < 512; k = k + 1) rows[k] = CONTENTS[ROW * k +: ROW];

    // Place in its row of what a port of so many bits addresses.
    function [5:0] place(input integer width, input [4:0] a);
        case (width)
            1: place = UNIT * a[4:3] + a[2:0];
            2: place = UNIT * a[4:3] + {a[2:1], 1'b0};
            4: place = UNIT * a[4:3] + {a[2], 2'b00};
            8, 9: place = UNIT * a[4:3];
            16, 18: place = 2 * UNIT * a[4];
            default: place = 0;
        endcase
    endfunction

    // Bits of a word, at its bottom, that a write changes.
    function [ROW - 1:0] written(input integer width, input [3:0] enables);
        case (width)
            16, 18: written = {{UNIT{enables[1]}}, {UNIT{enables[0]}}};
            32, 36: written = {{UNIT{enables[3]}}, {UNIT{enables[2]}}, {UNIT{enables[1]}}, {UNIT{enables[0]}}};
            default: written = (37'b1 << width) - 1;
        endcase
    endfunction

    wire [5:0] place_a = place(WIDTH_A, ada[4:0]), place_b = place(WIDTH_B, adb[4:0]);
    wire [ROW - 1:0] mask_a = cea & wea ? written(WIDTH_A, ada[3:0]) << place_a : NONE;
    wire [ROW - 1:0] mask_b = ceb & web ? written(WIDTH_B, adb[3:0]) << place_b : NONE;
    wire [ROW - 1:0] data_a = dia << place_a, data_b = dib << place_b;
    wire meet = ada[13:5] == adb[13:5];
    wire clear_a = RESET_MODE == "ASYNC" & reseta, clear_b = RESET_MODE == "ASYNC" & resetb;
    reg [ROW - 1:0] row_a, row_b, word_a = 0, word_b = 0;

    // Blocking, so that both ports can write different bits of a row on one edge.
    always @(posedge clka, posedge clear_a) if (clear_a) word_a <= 0; else begin
        row_a = rows[ada[13:5]];
        rows[ada[13:5]] = (row_a & ~mask_a) | (data_a & mask_a);
        if (MODE_A == 1) row_a = (row_a & ~mask_a) | (data_a & mask_a);
        if (meet) row_a = (row_a & ~mask_b) | (~data_b & mask_b);
        if (reseta) word_a <= 0;
        else if (cea && !(wea && MODE_A == 0)) word_a <= row_a >> place_a;
    end
    always @(posedge clkb, posedge clear_b) if (clear_b) word_b <= 0; else begin
        row_b = rows[adb[13:5]];
        rows[adb[13:5]] = (row_b & ~mask_b) | (data_b & mask_b);
        if (MODE_B == 1) row_b = (row_b & ~mask_b) | (data_b & mask_b);
        if (meet) row_b = (row_b & ~mask_a) | (~data_a & mask_a);
        if (resetb) word_b <= 0;
        else if (ceb && !(web && MODE_B == 0)) word_b <= row_b >> place_b;
    end
    assign qa = word_a & ((37'b1 << WIDTH_A) - 1);
    assign qb = word_b & ((37'b1 << WIDTH_B) - 1);
endmodule

module SP(output [31:0] DO, input [31:0] DI, input [2:0] BLKSEL, input [13:0] AD, input WRE, CLK, CE, OCE, RESET);
    parameter READ_MODE = 0, WRITE_MODE = 0, BIT_WIDTH = 32, BLK_SEL = 0, RESET_MODE = "SYNC";
    `BNNHW_CONTENTS(256)
    generate
        if (READ_MODE != 0) SP_output_registers_are_not_modelled unknown();
        if (BLK_SEL != 0) SP_block_selects_are_not_modelled unknown();
    endgenerate
    bnnhw_gowin_ram #(.UNIT(8), .WIDTH_A(BIT_WIDTH), .MODE_A(WRITE_MODE), .RESET_MODE(RESET_MODE), .CONTENTS(CONTENTS)) ram(
        .clka(CLK), .cea(CE), .wea(WRE), .reseta(RESET), .ada(AD), .dia(DI), .qa(DO),
        .clkb(CLK), .ceb(1'b0), .web(1'b0), .resetb(1'b0), .adb(14'b0), .dib(32'b0), .qb());
endmodule

module SPX9(output [35:0] DO, input [35:0] DI, input [2:0] BLKSEL, input [13:0] AD, input WRE, CLK, CE, OCE, RESET);
    parameter READ_MODE = 0, WRITE_MODE = 0, BIT_WIDTH = 36, BLK_SEL = 0, RESET_MODE = "SYNC";
    `BNNHW_CONTENTS(288)
    generate
        if (READ_MODE != 0) SPX9_output_registers_are_not_modelled unknown();
        if (BLK_SEL != 0) SPX9_block_selects_are_not_modelled unknown();
    endgenerate
    bnnhw_gowin_ram #(.UNIT(9), .WIDTH_A(BIT_WIDTH), .MODE_A(WRITE_MODE), .RESET_MODE(RESET_MODE), .CONTENTS(CONTENTS)) ram(
        .clka(CLK), .cea(CE), .wea(WRE), .reseta(RESET), .ada(AD), .dia(DI), .qa(DO),
        .clkb(CLK), .ceb(1'b0), .web(1'b0), .resetb(1'b0), .adb(14'b0), .dib(36'b0), .qb());
endmodule

module SDPX9B(output [35:0] DO, input [35:0] DI, input [2:0] BLKSELA, BLKSELB, input [13:0] ADA, ADB,
    input CLKA, CEA, RESETA, CLKB, CEB, RESETB, OCE);
    parameter READ_MODE = 0, BIT_WIDTH_0 = 36, BIT_WIDTH_1 = 36, BLK_SEL_0 = 0, BLK_SEL_1 = 0, RESET_MODE = "SYNC";
    `BNNHW_CONTENTS(288)
    generate
        if (READ_MODE != 0) SDPX9B_output_registers_are_not_modelled unknown();
        if (BLK_SEL_0 != 0 || BLK_SEL_1 != 0) SDPX9B_block_selects_are_not_modelled unknown();
    endgenerate
    bnnhw_gowin_ram #(.UNIT(9), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .RESET_MODE(RESET_MODE), .CONTENTS(CONTENTS)) ram(
        .clka(CLKA), .cea(CEA), .wea(1'b1), .reseta(RESETA), .ada(ADA), .dia(DI), .qa(),
        .clkb(CLKB), .ceb(CEB), .web(1'b0), .resetb(RESETB), .adb(ADB), .dib(36'b0), .qb(DO));
endmodule

module DPB(output [15:0] DOA, DOB, input [15:0] DIA, DIB, input [2:0] BLKSELA, BLKSELB, input [13:0] ADA, ADB,
    input CLKA, CEA, OCEA, WREA, RESETA, CLKB, CEB, OCEB, WREB, RESETB);
    parameter READ_MODE0 = 0, READ_MODE1 = 0, WRITE_MODE0 = 0, WRITE_MODE1 = 0, BIT_WIDTH_0 = 16, BIT_WIDTH_1 = 16;
    parameter BLK_SEL_0 = 0, BLK_SEL_1 = 0, RESET_MODE = "SYNC";
    `BNNHW_CONTENTS(256)
    generate
        if (READ_MODE0 != 0 || READ_MODE1 != 0) DPB_output_registers_are_not_modelled unknown();
        if (BLK_SEL_0 != 0 || BLK_SEL_1 != 0) DPB_block_selects_are_not_modelled unknown();
    endgenerate
    wire [31:0] qa, qb;
    assign DOA = qa[15:0], DOB = qb[15:0];
    bnnhw_gowin_ram #(.UNIT(8), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .MODE_A(WRITE_MODE0), .MODE_B(WRITE_MODE1),
        .RESET_MODE(RESET_MODE), .CONTENTS(CONTENTS)) ram(
        .clka(CLKA), .cea(CEA), .wea(WREA), .reseta(RESETA), .ada(ADA), .dia({16'b0, DIA}), .qa(qa),
        .clkb(CLKB), .ceb(CEB), .web(WREB), .resetb(RESETB), .adb(ADB), .dib({16'b0, DIB}), .qb(qb));
endmodule

module DPX9B(output [17:0] DOA, DOB, input [17:0] DIA, DIB, input [2:0] BLKSELA, BLKSELB, input [13:0] ADA, ADB,
    input CLKA, CEA, OCEA, WREA, RESETA, CLKB, CEB, OCEB, WREB, RESETB);
    parameter READ_MODE0 = 0, READ_MODE1 = 0, WRITE_MODE0 = 0, WRITE_MODE1 = 0, BIT_WIDTH_0 = 18, BIT_WIDTH_1 = 18;
    parameter BLK_SEL_0 = 0, BLK_SEL_1 = 0, RESET_MODE = "SYNC";
    `BNNHW_CONTENTS(288)
    generate
        if (READ_MODE0 != 0 || READ_MODE1 != 0) DPX9B_output_registers_are_not_modelled unknown();
        if (BLK_SEL_0 != 0 || BLK_SEL_1 != 0) DPX9B_block_selects_are_not_modelled unknown();
    endgenerate
    wire [35:0] qa, qb;
    assign DOA = qa[17:0], DOB = qb[17:0];
    bnnhw_gowin_ram #(.UNIT(9), .WIDTH_A(BIT_WIDTH_0), .WIDTH_B(BIT_WIDTH_1), .MODE_A(WRITE_MODE0), .MODE_B(WRITE_MODE1),
        .RESET_MODE(RESET_MODE), .CONTENTS(CONTENTS)) ram(
        .clka(CLKA), .cea(CEA), .wea(WREA), .reseta(RESETA), .ada(ADA), .dia({18'b0, DIA}), .qa(qa),
        .clkb(CLKB), .ceb(CEB), .web(WREB), .resetb(RESETB), .adb(ADB), .dib({18'b0, DIB}), .qb(qb));
endmodule
