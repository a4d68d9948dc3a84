"""Where a folded layer's weights come from."""

import numpy as np
from amaranth import *
from amaranth.lib import memory, stream, wiring
from amaranth.lib.wiring import Out

__all__ = ["PAGE", "STYLES", "RomSource", "pages", "style_for", "weight_words"]

# How each memory style is asked for. yosys reads these attributes of a memory when it maps it.
STYLES = {"bram": {"rom_style": "block"}, "lut": {"rom_style": "logic"}, "updatable": {"rom_style": "block"}}
# Words by which an updatable memory is rounded up: with 64 words or more of random contents in each block RAM no column is like
# another, so that it can be found again in a routed design (bnnhw.updating). No block RAM's depth ends within a page.
PAGE = 64


LUT_WORDS = 64      # a bit of so many words takes five tables of four inputs; a block RAM has sixteen bits at a time
LUT_BITS = 1024     # memories up to this size are tables: a block RAM would be mostly empty


def pages(words):
    """Words of an updatable memory of at least ``words``."""
    return -(-words // PAGE) * PAGE


def style_for(bits, words=None):
    """The kind of memory for so many bits, or for so many in a table of ``words`` words: few words are logic, however wide."""
    return "bram" if bits > LUT_BITS and (words is None or words > LUT_WORDS) else "lut"


def weight_words(weights, pe, simd):
    """The weight memory of a folded layer.

    Parameters
    ----------
    weights : int array (n_out, n_in)
        -1, 0 and +1.

    Returns
    -------
    words : list of int
        In the order in which they are used: input words fastest, then output folds. Bit ``k * simd + j`` of word
        ``fold * (n_in / simd) + w`` is 1 where neuron ``fold * pe + k`` has weight +1 from input ``w * simd + j``. Where any
        weight is 0, ``pe * simd`` bits follow that are 1 where it is not.
    width : int
        Bits of a word.
    """
    n_out, n_in = weights.shape
    planes = [weights > 0] if weights.all() else [weights > 0, weights != 0]
    words = [plane.reshape(n_out // pe, pe, n_in // simd, simd).transpose(0, 2, 1, 3).reshape(-1, pe * simd) for plane in planes]
    bits = np.concatenate(words, axis=1)
    packed = np.packbits(bits, axis=1, bitorder="little")
    return [int.from_bytes(row.tobytes(), "little") for row in packed], bits.shape[1]


class RomSource(wiring.Component):
    """Emits the words of a read-only memory in order, over and over.

    One word per cycle; the first is offered one cycle after reset, or two if ``registered``. The memory's read register is the
    output register, unless another one stands behind it: in some fabrics a block RAM takes as long as many tables.

    Parameters
    ----------
    words : sequence of int
        Unsigned, each below ``2**width``.
    width : int
        Bits of a word.
    style : str
        ``"bram"`` or ``"lut"``: the kind of memory; ``"updatable"``: block RAM that is as deep as :func:`pages` says.
    registered : bool
        Whether another register stands behind the memory.

    Members
    -------
    o : :py:`Out(stream.Signature(width))`
    """
    def __init__(self, words, width, style, registered=False):
        if style not in STYLES:
            raise ValueError(f"style must be one of {list(STYLES)}, not {style!r}")
        if not words:
            raise ValueError("there must be at least one word")
        self.words, self.width, self.style, self.registered = list(words), width, style, registered
        super().__init__({"o": Out(stream.Signature(width))})

    def elaborate(self, platform):
        m = Module()

        depth = pages(len(self.words)) if self.style == "updatable" else len(self.words)
        m.submodules.rom = rom = memory.Memory(shape=self.width, depth=depth, init=self.words,
                                               attrs=STYLES[self.style])
        read = rom.read_port()
        move = ~self.o.valid | self.o.ready
        m.d.comb += read.en.eq(move)
        if self.registered:
            word, fetched = Signal(self.width, reset_less=True), Signal()
            m.d.comb += self.o.payload.eq(word)
            m.d.sync += [fetched.eq(1), self.o.valid.eq(fetched)]
            with m.If(move):
                m.d.sync += word.eq(read.data)
        else:
            m.d.comb += self.o.payload.eq(read.data)
            m.d.sync += self.o.valid.eq(1)
        with m.If(move):
            m.d.sync += read.addr.eq(Mux(read.addr == len(self.words) - 1, 0, read.addr + 1))

        return m
