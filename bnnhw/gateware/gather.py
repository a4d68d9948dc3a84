"""The used elements of a vector that comes in words: kept in shift registers, or in the output registers of block RAMs."""

from dataclasses import dataclass

from amaranth import *
from amaranth.lib import data, memory
from amaranth.utils import bits_for

__all__ = ["Gather", "Image"]

BANK = 8                    # block RAMs that share a bit of the table
BLOCK_BITS = 16             # of an iCE40's block RAM at once
LEAST_BLOCK_BITS = 256      # of the table of used elements: smaller ones are logic
CHAINS = 4                  # shift registers of a lane at most


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

    Each lane has its share of the block RAMs, which its used elements fill in the order in which they are given, and a shift
    register for those that are left; where there are no block RAMs a shift register per cluster (per few clusters where there are
    many), so that a cluster's flip-flops can stand together. A table says, word by word, where each lane's element goes. Elements
    that nobody uses are not stored at all.

    Parameters
    ----------
    inputs : int
        Elements of the vector.
    lanes : int
        A divisor of ``inputs``.
    clusters : list of list of int
        The used elements, each once; neighbours share a block RAM.
    blocks : int
        Block RAMs, a multiple of ``lanes``; more than are needed are not made.

    Attributes
    ----------
    blocks : int
        Block RAMs of all lanes.
    chains : int
        Shift registers of each lane.
    lengths : list of int
        Of the shift registers, lane by lane.
    place : dict of int to (int, int)
        Element of a shift register -> which one, and position in it when the vector is complete.
    cells : dict of int to int
        Element of a block RAM -> bit of :class:`Image`'s output.
    """
    def __init__(self, inputs, lanes, clusters, blocks=0):
        if blocks % lanes:
            raise ValueError(f"blocks must be a multiple of the {lanes} lanes, not {blocks}")
        self.inputs, self.lanes, self.words = inputs, lanes, inputs // lanes
        own = [[element for cluster in clusters for element in cluster if element % lanes == lane] for lane in range(lanes)]
        self.each = min(blocks // lanes, max(-(-len(elements) // BLOCK_BITS) for elements in own))      # block RAMs of a lane
        self.blocks = self.each * lanes
        first = self.each * BLOCK_BITS
        self.cells = {element: first * lane + k
                      for lane, elements in enumerate(own) for k, element in enumerate(elements[:first])}
        left = [cluster for cluster in ([e for e in cluster if e not in self.cells] for cluster in clusters) if cluster]
        self.chains = min(len(left), 1 if self.blocks else CHAINS)
        rest = [[] for _ in range(lanes * self.chains)]
        for at, cluster in enumerate(left):
            for element in cluster:
                rest[element % lanes * self.chains + at * self.chains // len(left)].append(element)
        self.place = {element: (chain, k) for chain, elements in enumerate(rest) for k, element in enumerate(sorted(elements))}
        self.lengths = [len(elements) for elements in rest]

    @property
    def registers(self):
        """Registers that a whole vector passes before its bits are there: one where there are block RAMs."""
        return int(self.blocks > 0)

    @property
    def flipflops(self):
        """Shift registers, their copies, the two words in front, and what writes block RAMs; flags and counters left out."""
        found = sum(self.lengths) * (1 + self.registers) + 2 * self.lanes + len(self.lengths)
        return found + self.blocks + BLOCK_BITS * self.lanes if self.blocks else found

    @property
    def memories(self):
        """Width (of the bits that change) and depth of the table of targets where it is meant for block RAM, in a list: empty
        where it is logic."""
        still = self._target["low"].width if self.each == 1 else 0
        return [((self._target.size - still) * self.lanes, self.words)] if self._in_blocks else []

    @property
    def _in_blocks(self):
        return self._target.size * self.lanes * self.words >= LEAST_BLOCK_BITS

    @property
    def _target(self):
        """Where an element goes: to the shift register, or to which bit of which block RAM. The block's number is given modulo
        8, with a bit for each eight blocks, so that a block's enable is a function of four bits."""
        low = min(BANK.bit_length() - 1, bits_for(self.each - 1))
        return data.StructLayout({"shift": self.chains} | (
            {"bit": range(BLOCK_BITS), "low": low, "bank": -(-self.each // BANK)} if self.each else {}))

    def _table(self):
        """The targets of each word's elements."""
        found = [[{} for _ in range(self.lanes)] for _ in range(self.words)]
        for element, (chain, _) in self.place.items():
            found[element // self.lanes][element % self.lanes] = {"shift": 1 << chain % self.chains}
        for element, cell in self.cells.items():
            block, bit = divmod(cell % (BLOCK_BITS * self.each), BLOCK_BITS)
            found[element // self.lanes][element % self.lanes] = {"bit": bit, "low": block % BANK, "bank": 1 << block // BANK}
        return found

    def elaborate(self, m, i, enable, name):
        """Build it in ``m`` behind stream ``i``.

        Returns the vector's bits, None for those that nobody uses, and whether they are a vector; they move on when ``enable``
        is 1. Module ``name`` is the :class:`Image`.
        """
        full = Signal()
        count, end = Signal(range(self.words)), Signal(init=self.words == 1)    # of the word that comes; whether it is the last
        shape = data.ArrayLayout(self._target, self.lanes)
        m.submodules.used = used = memory.Memory(
            shape=shape, depth=self.words, init=self._table(), attrs={"rom_style": "block" if self._in_blocks else "logic"})
        read, push = used.read_port(), i.valid & i.ready
        # Two registers in front. In the first a word meets its targets; in the second it is known what to do with it.
        coming, coming_word, coming_last = Signal(), Signal(self.lanes), Signal()
        waiting, word, last, shift = Signal(), Signal(self.lanes), Signal(), Signal(len(self.lengths))
        go = Signal()
        m.d.comb += [
            go.eq(waiting & (~full | enable)),
            i.ready.eq(~waiting | ~full | enable),
            read.addr.eq(count),
            read.en.eq(i.ready),
        ]
        with m.If(push):
            m.d.sync += [count.eq(Mux(end, 0, count + 1)), end.eq((count == self.words - 2) if self.words > 1 else 1)]
        with m.If(i.ready):
            m.d.sync += [coming.eq(i.valid), coming_word.eq(Value.cast(i.p)), coming_last.eq(end),
                         waiting.eq(coming), word.eq(coming_word), last.eq(coming_last),
                         shift.eq(Cat(target.shift for target in read.data))]
        with m.If(enable):
            m.d.sync += full.eq(0)
        with m.If(go & last):
            m.d.sync += full.eq(1)
        registers = [self._shifted(m, chain, go & shift[chain], word[chain // self.chains]) for chain in range(len(self.lengths))]
        bits, valid = [None] * self.inputs, full
        if self.blocks:
            y, valid = self._image(m, i.ready, coming, read.data, word, go & last, full, enable, name)
            held = [Signal.like(register, name=f"held{chain}", reset_less=True) for chain, register in enumerate(registers)]
            with m.If(enable):
                m.d.sync += [copy.eq(register) for copy, register in zip(held, registers, strict=True)]
            registers = held
            for element, k in self.cells.items():
                bits[element] = y[k]
        for element, (chain, k) in self.place.items():
            bits[element] = registers[chain][k]
        return bits, valid

    def _image(self, m, ready, coming, targets, word, complete, full, enable, name):
        """The block RAMs' outputs, and whether they are a vector. A bit that waits is written more than once: to where it was."""
        y, valid, page = Signal(BLOCK_BITS * self.blocks), Signal(name="held"), Signal()
        writes, masks = Signal(self.blocks), Signal(BLOCK_BITS * self.lanes)
        with m.If(complete):
            m.d.sync += page.eq(~page)
        with m.If(ready):
            m.d.sync += [
                writes.eq(Cat(coming & target.bank[block // BANK] & (target.low == block % BANK)
                              for target in targets for block in range(self.each))),
                masks.eq(Cat(target.bit == bit for target in targets for bit in range(BLOCK_BITS))),
            ]
        m.submodules.image = Instance(
            name, i_clk=ClockSignal(), i_we=writes, i_page=page, i_re=enable, o_y=y,
            i_mask=Cat(masks.word_select(lane, BLOCK_BITS).replicate(self.each) for lane in range(self.lanes)),
            i_data=Cat(word[lane].replicate(self.each) for lane in range(self.lanes)))
        with m.If(enable):
            m.d.sync += valid.eq(full)
        return y, valid

    def _shifted(self, m, chain, take, bit):
        register = Signal(self.lengths[chain], name=f"used{chain}", reset_less=True)
        with m.If(take):
            m.d.sync += register.eq(Cat(register[1:], bit))
        return register
