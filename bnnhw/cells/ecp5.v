// Behaviour of ECP5's block RAM and multiplier, which yosys' cell library only names. LUTs, flip-flops and LUT RAM are
// yosys' own.
//
// Sources: Lattice FPGA-TN-02204 (ECP5 memory usage guide) and FPGA-DS-02012; the layout of INITVAL and what each pin
// does are what yosys' memory mapping (lattice/brams_map_16kd.v, brams_16kd.txt) relies on.
//
// The memory is 512 rows of 36 bits: four units of eight data bits and a ninth. AD[13:5] is the row, AD[4:3] the unit,
// AD[2:0] the bit; narrow widths skip the ninth bits. A port of 18 has byte enables in AD[1:0], one of 36 in AD[3:0], with
// its upper half at the other port's DI and DO. INITVAL_xx holds sixteen half rows, 20 bits apart.
//
// Where both ports meet at the same bits on the same edge and one of them writes, the data sheet promises nothing: here
// the reader gets the complement of what is written, so that a design that relies on it is seen. That takes one clock for
// both. A reset, synchronous or not, clears the output and blocks writes. Whatever the model does not know (output registers,
// chip selects) is an error when the design is compiled, not a wrong simulation.

`define NO_INCLUDES     // yosys' files, which follow, would ask for cells that synthesis does not make

module DP16KD(
    input DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0,
    input ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0,
    input CEA, OCEA, CLKA, WEA, RSTA, CSA2, CSA1, CSA0,
    output DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0,
    input DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0,
    input ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0,
    input CEB, OCEB, CLKB, WEB, RSTB, CSB2, CSB1, CSB0,
    output DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0
);
    parameter DATA_WIDTH_A = 18, DATA_WIDTH_B = 18;
    parameter REGMODE_A = "NOREG", REGMODE_B = "NOREG";
    parameter RESETMODE = "SYNC", ASYNC_RESET_RELEASE = "SYNC";
    parameter CSDECODE_A = "0b000", CSDECODE_B = "0b000";
    parameter WRITEMODE_A = "NORMAL", WRITEMODE_B = "NORMAL";
    parameter CLKAMUX = "CLKA", CLKBMUX = "CLKB";
    parameter GSR = "ENABLED";  // what configuration resets; a simulation begins after it
    parameter [319:0]
        INITVAL_00 = 0, INITVAL_01 = 0, INITVAL_02 = 0, INITVAL_03 = 0, INITVAL_04 = 0, INITVAL_05 = 0, INITVAL_06 = 0, INITVAL_07 = 0,
        INITVAL_08 = 0, INITVAL_09 = 0, INITVAL_0A = 0, INITVAL_0B = 0, INITVAL_0C = 0, INITVAL_0D = 0, INITVAL_0E = 0, INITVAL_0F = 0,
        INITVAL_10 = 0, INITVAL_11 = 0, INITVAL_12 = 0, INITVAL_13 = 0, INITVAL_14 = 0, INITVAL_15 = 0, INITVAL_16 = 0, INITVAL_17 = 0,
        INITVAL_18 = 0, INITVAL_19 = 0, INITVAL_1A = 0, INITVAL_1B = 0, INITVAL_1C = 0, INITVAL_1D = 0, INITVAL_1E = 0, INITVAL_1F = 0,
        INITVAL_20 = 0, INITVAL_21 = 0, INITVAL_22 = 0, INITVAL_23 = 0, INITVAL_24 = 0, INITVAL_25 = 0, INITVAL_26 = 0, INITVAL_27 = 0,
        INITVAL_28 = 0, INITVAL_29 = 0, INITVAL_2A = 0, INITVAL_2B = 0, INITVAL_2C = 0, INITVAL_2D = 0, INITVAL_2E = 0, INITVAL_2F = 0,
        INITVAL_30 = 0, INITVAL_31 = 0, INITVAL_32 = 0, INITVAL_33 = 0, INITVAL_34 = 0, INITVAL_35 = 0, INITVAL_36 = 0, INITVAL_37 = 0,
        INITVAL_38 = 0, INITVAL_39 = 0, INITVAL_3A = 0, INITVAL_3B = 0, INITVAL_3C = 0, INITVAL_3D = 0, INITVAL_3E = 0, INITVAL_3F = 0;

    // Not modelled: the module that is instantiated does not exist.
    generate
        if (REGMODE_A != "NOREG" || REGMODE_B != "NOREG") DP16KD_output_registers_are_not_modelled unknown();
        if (CSDECODE_A != "0b000" || CSDECODE_B != "0b000") DP16KD_chip_selects_are_not_modelled unknown();
        if (DATA_WIDTH_A == 36 && WRITEMODE_A != "NORMAL") DP16KD_write_modes_of_36_bits_are_not_modelled unknown();
    endgenerate

    localparam [20479:0] INITVAL = {
        INITVAL_3F, INITVAL_3E, INITVAL_3D, INITVAL_3C, INITVAL_3B, INITVAL_3A, INITVAL_39, INITVAL_38,
        INITVAL_37, INITVAL_36, INITVAL_35, INITVAL_34, INITVAL_33, INITVAL_32, INITVAL_31, INITVAL_30,
        INITVAL_2F, INITVAL_2E, INITVAL_2D, INITVAL_2C, INITVAL_2B, INITVAL_2A, INITVAL_29, INITVAL_28,
        INITVAL_27, INITVAL_26, INITVAL_25, INITVAL_24, INITVAL_23, INITVAL_22, INITVAL_21, INITVAL_20,
        INITVAL_1F, INITVAL_1E, INITVAL_1D, INITVAL_1C, INITVAL_1B, INITVAL_1A, INITVAL_19, INITVAL_18,
        INITVAL_17, INITVAL_16, INITVAL_15, INITVAL_14, INITVAL_13, INITVAL_12, INITVAL_11, INITVAL_10,
        INITVAL_0F, INITVAL_0E, INITVAL_0D, INITVAL_0C, INITVAL_0B, INITVAL_0A, INITVAL_09, INITVAL_08,
        INITVAL_07, INITVAL_06, INITVAL_05, INITVAL_04, INITVAL_03, INITVAL_02, INITVAL_01, INITVAL_00
    };

    reg [35:0] rows [0:511];
    integer k;
    initial for (k = 0; k < 512; k = k + 1) rows[k] = {INITVAL[40 * k + 20 +: 18], INITVAL[40 * k +: 18]};

    // Place in its row of what a port of so many bits addresses.
    function [5:0] place(input integer width, input [4:0] a);
        case (width)
            1: place = 9 * a[4:3] + a[2:0];
            2: place = 9 * a[4:3] + {a[2:1], 1'b0};
            4: place = 9 * a[4:3] + {a[2], 2'b00};
            9: place = 9 * a[4:3];
            18: place = 18 * a[4];
            default: place = 0;
        endcase
    endfunction

    // Bits of a word, at its bottom, that a write changes.
    function [35:0] written(input integer width, input [3:0] enables);
        case (width)
            18: written = {18'b0, {9{enables[1]}}, {9{enables[0]}}};
            36: written = {{9{enables[3]}}, {9{enables[2]}}, {9{enables[1]}}, {9{enables[0]}}};
            default: written = (36'b1 << width) - 1;
        endcase
    endfunction

    wire [13:0] ada = {ADA13, ADA12, ADA11, ADA10, ADA9, ADA8, ADA7, ADA6, ADA5, ADA4, ADA3, ADA2, ADA1, ADA0};
    wire [13:0] adb = {ADB13, ADB12, ADB11, ADB10, ADB9, ADB8, ADB7, ADB6, ADB5, ADB4, ADB3, ADB2, ADB1, ADB0};
    wire [17:0] dia = {DIA17, DIA16, DIA15, DIA14, DIA13, DIA12, DIA11, DIA10, DIA9, DIA8, DIA7, DIA6, DIA5, DIA4, DIA3, DIA2, DIA1, DIA0};
    wire [17:0] dib = {DIB17, DIB16, DIB15, DIB14, DIB13, DIB12, DIB11, DIB10, DIB9, DIB8, DIB7, DIB6, DIB5, DIB4, DIB3, DIB2, DIB1, DIB0};
    wire [17:0] doa, dob;
    assign {DOA17, DOA16, DOA15, DOA14, DOA13, DOA12, DOA11, DOA10, DOA9, DOA8, DOA7, DOA6, DOA5, DOA4, DOA3, DOA2, DOA1, DOA0} = doa;
    assign {DOB17, DOB16, DOB15, DOB14, DOB13, DOB12, DOB11, DOB10, DOB9, DOB8, DOB7, DOB6, DOB5, DOB4, DOB3, DOB2, DOB1, DOB0} = dob;

    wire clka = CLKAMUX == "INV" ? ~CLKA : CLKA;
    wire clkb = CLKBMUX == "INV" ? ~CLKB : CLKB;
    wire clear_a = RESETMODE == "ASYNC" & RSTA;
    wire clear_b = RESETMODE == "ASYNC" & RSTB;
    wire [5:0] place_a = place(DATA_WIDTH_A, ada[4:0]);
    wire [5:0] place_b = place(DATA_WIDTH_B, adb[4:0]);
    wire [35:0] mask_a = CEA & WEA & ~RSTA ? written(DATA_WIDTH_A, ada[3:0]) << place_a : 36'b0;
    wire [35:0] mask_b = CEB & WEB & ~RSTB ? written(DATA_WIDTH_B, adb[3:0]) << place_b : 36'b0;
    wire [35:0] data_a = {DATA_WIDTH_A == 36 ? dib : 18'b0, dia} << place_a;
    wire [35:0] data_b = {18'b0, dib} << place_b;
    wire meet = ada[13:5] == adb[13:5];

    // What a port's word becomes on an edge: nothing of its own where it writes in mode NORMAL.
    reg [35:0] row_a, row_b, word_a = 0, word_b = 0;

    // Blocking, so that both ports can write different bits of a row on one edge.
    always @(posedge clka, posedge clear_a) if (clear_a) word_a <= 0; else begin
        row_a = rows[ada[13:5]];
        rows[ada[13:5]] = (row_a & ~mask_a) | (data_a & mask_a);
        if (WRITEMODE_A == "WRITETHROUGH") row_a = (row_a & ~mask_a) | (data_a & mask_a);
        if (meet) row_a = (row_a & ~mask_b) | (~data_b & mask_b);
        if (RSTA) word_a <= 0;
        else if (CEA && !(WEA && WRITEMODE_A == "NORMAL")) word_a <= row_a >> place_a;
    end
    always @(posedge clkb, posedge clear_b) if (clear_b) word_b <= 0; else begin
        row_b = rows[adb[13:5]];
        rows[adb[13:5]] = (row_b & ~mask_b) | (data_b & mask_b);
        if (WRITEMODE_B == "WRITETHROUGH") row_b = (row_b & ~mask_b) | (data_b & mask_b);
        if (meet) row_b = (row_b & ~mask_a) | (~data_a & mask_a);
        if (RSTB) word_b <= 0;
        else if (CEB && !(WEB && WRITEMODE_B == "NORMAL")) word_b <= row_b >> place_b;
    end

    assign doa = DATA_WIDTH_B == 36 ? word_b[17:0] : word_a[17:0];
    assign dob = DATA_WIDTH_B == 36 ? word_b[35:18] : word_b[17:0];
endmodule

// Multiplier without registers, the only form that yosys makes; other forms set parameters that are not here.
module MULT18X18D(
    input A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0,
    input B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0,
    input C17, C16, C15, C14, C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0,
    input SIGNEDA, SIGNEDB, SOURCEA, SOURCEB,
    output P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
    output P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0
);
    wire signed [18:0] a = {SIGNEDA & A17, A17, A16, A15, A14, A13, A12, A11, A10, A9, A8, A7, A6, A5, A4, A3, A2, A1, A0};
    wire signed [18:0] b = {SIGNEDB & B17, B17, B16, B15, B14, B13, B12, B11, B10, B9, B8, B7, B6, B5, B4, B3, B2, B1, B0};
    wire signed [37:0] product = a * b;
    assign {P35, P34, P33, P32, P31, P30, P29, P28, P27, P26, P25, P24, P23, P22, P21, P20, P19, P18,
            P17, P16, P15, P14, P13, P12, P11, P10, P9, P8, P7, P6, P5, P4, P3, P2, P1, P0} = product[35:0];
endmodule
