"""Where a folded layer's weights come from."""

from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import Out

__all__ = ["STYLES", "RomSource"]

# How each memory style is asked for. yosys reads these attributes of a memory when it maps it.
STYLES = {"bram": {"rom_style": "block"}, "lut": {"rom_style": "logic"}}


class RomSource(wiring.Component):
    """Emits the words of a read-only memory in order, over and over.

    One word per cycle; the first is offered one cycle after reset. The memory's read register is the output register.

    Parameters
    ----------
    words : sequence of int
        Unsigned, each below ``2**width``.
    width : int
        Bits of a word.
    style : str
        ``"bram"`` or ``"lut"``: the kind of memory.

    Members
    -------
    o : :py:`Out(stream.Signature(width))`
    """
    def __init__(self, words, width, style):
        if style not in STYLES:
            raise ValueError(f"style must be one of {list(STYLES)}, not {style!r}")
        if not words:
            raise ValueError("there must be at least one word")
        self.words, self.width, self.style = list(words), width, style
        super().__init__({"o": Out(stream.Signature(width))})

    def elaborate(self, platform):
        m = Module()

        m.submodules.rom = rom = memory.Memory(shape=self.width, depth=len(self.words), init=self.words,
                                               attrs=STYLES[self.style])
        read = rom.read_port()
        move = ~self.o.valid | self.o.ready
        m.d.comb += [read.en.eq(move), self.o.payload.eq(read.data)]
        m.d.sync += self.o.valid.eq(1)
        with m.If(move):
            m.d.sync += read.addr.eq(Mux(read.addr == len(self.words) - 1, 0, read.addr + 1))

        return m
