"""The used elements of a vector that comes in words: kept in shift registers, or in the output registers of block RAMs."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import memory

__all__ = ["Gather", "Image"]

BLOCK_BITS = 16             # of an iCE40's block RAM at once
LEAST_BLOCK_BITS = 256      # of the table of used elements: smaller ones are logic


@dataclass(frozen=True)
class Image:
    """Block RAMs that hold ``16 * blocks`` bits twice, written one by one and read all at once: a module of the Verilog.

    Ports: clk; on ``we[b]`` the bits ``mask`` of block b become ``data[b]`` on page ``page``; on ``re`` the output ``y`` becomes
    what the other page holds. So no bit is read and written at once.
    """
    blocks: int

    def _module(self, name, lines):
        blocks, size = self.blocks, BLOCK_BITS
        return "".join([
            f"module {name} (input clk, input [{blocks - 1}:0] we, input [{size * blocks - 1}:0] mask, ",
            f"input [{blocks - 1}:0] data, input page, re, output [{size * blocks - 1}:0] y);\n", *lines, "endmodule\n"])

    def plain(self, name):
        """Plain Verilog of a module ``name``."""
        width = BLOCK_BITS * self.blocks
        return self._module(name, [
            f"  reg [{width - 1}:0] held [0:1], seen;\n  assign y = seen;\n  integer k;\n  always @(posedge clk) begin\n"
            f"    for (k = 0; k < {width}; k = k + 1)\n      if (we[k / {BLOCK_BITS}] && mask[k]) "
            f"held[page][k] <= data[k / {BLOCK_BITS}];\n    if (re) seen <= held[~page];\n  end\n"])

    def verilog(self, name):
        """The same module in cells of an iCE40: a block RAM per 16 bits."""
        lines = []
        for block in range(self.blocks):
            part = f"[{BLOCK_BITS * block + BLOCK_BITS - 1}:{BLOCK_BITS * block}]"
            lines.append(f"  SB_RAM40_4K #(.READ_MODE(0), .WRITE_MODE(0)) block{block} (.RDATA(y{part}), .RCLK(clk), .RCLKE(re), "
                         f".RE(1'b1), .RADDR({{10'd0, ~page}}), .WCLK(clk), .WCLKE(1'b1), .WE(we[{block}]), "
                         f".WADDR({{10'd0, page}}), .MASK(~mask{part}), .WDATA({{{BLOCK_BITS}{{data[{block}]}}}}));\n")
        return self._module(name, lines)


class Gather:
    """Where the used elements of a vector stand, which comes in words of ``lanes``.

    Each lane has its share of the block RAMs and a shift register; its first used elements go to the former. Elements that
    nobody uses are not stored at all.

    Parameters
    ----------
    inputs : int
        Elements of the vector.
    lanes : int
        A divisor of ``inputs``.
    used : set of int
    blocks : int
        Block RAMs, a multiple of ``lanes``; more than are needed are not made.

    Attributes
    ----------
    enables : list of int
        For each word, which lanes have a used element, as bits.
    blocks : int
        Block RAMs of all lanes.
    place : dict of int to (int, int)
        Element of a shift register -> lane, and position in it when the vector is complete.
    cells : dict of int to int
        Element of a block RAM -> bit of :class:`Image`'s output.
    """
    def __init__(self, inputs, lanes, used, blocks=0):
        if blocks % lanes:
            raise ValueError(f"blocks must be a multiple of the {lanes} lanes, not {blocks}")
        self.inputs, self.lanes = inputs, lanes
        self.enables = [sum((word * lanes + lane in used) << lane for lane in range(lanes)) for word in range(inputs // lanes)]
        own = [[element for element in range(lane, inputs, lanes) if element in used] for lane in range(lanes)]
        self.each = min(blocks // lanes, max(-(-len(elements) // BLOCK_BITS) for elements in own))      # block RAMs of a lane
        self.blocks = self.each * lanes
        first = self.each * BLOCK_BITS
        self.cells = {element: first * lane + k
                      for lane, elements in enumerate(own) for k, element in enumerate(elements[:first])}
        self.place = {element: (lane, k) for lane, elements in enumerate(own) for k, element in enumerate(elements[first:])}
        self.lengths = [len(elements[first:]) for elements in own]

    @property
    def registers(self):
        """Registers that a whole vector passes before its bits are there: one where there are block RAMs."""
        return int(self.blocks > 0)

    def elaborate(self, m, i, enable, name):
        """Build it in ``m`` behind stream ``i``.

        Returns the vector's bits, None for those that nobody uses, and whether they are a vector; they move on when ``enable``
        is 1. Module ``name`` is the :class:`Image`.
        """
        words, full, primed = len(self.enables), Signal(), Signal()
        count, end = Signal(range(words)), Signal(init=words == 1)      # of the word that comes; whether it is a vector's last
        m.submodules.used = used = memory.Memory(
            shape=self.lanes, depth=words, init=self.enables,
            attrs={"rom_style": "block" if words * self.lanes >= LEAST_BLOCK_BITS else "logic"})
        read = used.read_port()     # a word ahead, so that it is there in time
        push, following = i.valid & i.ready, Signal.like(count)
        # A register in front, so that what is done with a word is known early.
        waiting, word, take, last = Signal(), Signal(self.lanes), Signal(self.lanes), Signal()
        go = Signal()
        m.d.comb += [
            go.eq(waiting & (~full | enable)),
            i.ready.eq(primed & (~waiting | ~full | enable)),
            following.eq(Mux(push, Mux(end, 0, count + 1), count)),
            read.addr.eq(following),
            read.en.eq(1),
        ]
        m.d.sync += [primed.eq(1), count.eq(following), end.eq(following == words - 1)]
        with m.If(i.ready):
            m.d.sync += [waiting.eq(push), word.eq(Value.cast(i.p)), take.eq(read.data), last.eq(end)]
        with m.If(enable):
            m.d.sync += full.eq(0)
        with m.If(go & last):
            m.d.sync += full.eq(1)
        takes = [go & take[lane] for lane in range(self.lanes)]
        bits, valid = [None] * self.inputs, full
        written = [self._rings(m, lane, takes[lane], go & last) for lane in range(self.lanes)] if self.blocks else []
        registers = [self._shifted(m, lane, takes[lane] & (written[lane][2] if self.blocks else 1), word[lane])
                     for lane in range(self.lanes)]
        if self.blocks:
            y, valid, page = Signal(BLOCK_BITS * self.blocks), Signal(name="held"), Signal()
            with m.If(go & last):
                m.d.sync += page.eq(~page)
            m.submodules.image = Instance(
                name, i_clk=ClockSignal(), i_we=Cat(block & take for (_, blocks, _), take in zip(written, takes, strict=True)
                                                    for block in blocks),
                i_mask=Cat(place.replicate(self.each) for place, _, _ in written),
                i_data=Cat(word[lane].replicate(self.each) for lane in range(self.lanes)), i_page=page,
                i_re=enable, o_y=y)
            held = [Signal.like(register, name=f"held{lane}", reset_less=True) for lane, register in enumerate(registers)]
            with m.If(enable):
                m.d.sync += [valid.eq(full), *(copy.eq(register) for copy, register in zip(held, registers, strict=True))]
            registers = held
            for element, k in self.cells.items():
                bits[element] = y[k]
        for element, (lane, k) in self.place.items():
            bits[element] = registers[lane][k]
        return bits, valid

    def _shifted(self, m, lane, take, bit):
        register = Signal(self.lengths[lane], name=f"used{lane}", reset_less=True)
        with m.If(take):
            m.d.sync += register.eq(Cat(register[1:], bit))
        return register

    def _rings(self, m, lane, take, last):
        """The bit of a block that a lane's next used element is, the block, and whether all its blocks are full: one-hot."""
        place, block = Signal(BLOCK_BITS, init=1, name=f"place{lane}"), Signal(self.each + 1, init=1, name=f"block{lane}")
        with m.If(last):
            m.d.sync += [place.eq(1), block.eq(1)]
        with m.Elif(take):
            m.d.sync += place.eq(place.rotate_left(1))
            with m.If(place[-1] & ~block[-1]):
                m.d.sync += block.eq(block << 1)
        return place, block[:-1], block[-1]
