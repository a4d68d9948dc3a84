"""The block RAM memories of generated Verilog: what they hold, and the same text with random words in their place."""

import hashlib
import re
from dataclasses import dataclass

import numpy as np

from ..gateware.weights import PAGE

__all__ = ["Memory", "differing", "memories", "with_placeholders"]

MODULE = re.compile(r"^module (\S+?) ?\(.*?^endmodule", re.M | re.S)
MEMORY = re.compile(r'^  \(\* r[ao]m_style = "block" \*\)\n  reg (?:\[(\d+):0\] )?(\w+) \[(\d+):0\];\n'
                    r"  initial begin\n(.*?)^  end\n", re.M | re.S)
WORD = re.compile(r"^ *\w+\[(\d+)\] = \d+'([hd])(\w+);$", re.M)
DIGEST = re.compile(r"^// Network SHA-256: .*\n", re.M)


@dataclass(frozen=True)
class Memory:
    """A memory: ``words`` are its contents, of ``width`` bits each. Its ``name`` is the module's with its own."""
    name: str
    width: int
    words: tuple

    @property
    def bits(self):
        """Contents, bool array (words, width), the least significant bit first."""
        size = (self.width + 7) // 8
        rows = np.frombuffer(b"".join(word.to_bytes(size, "little") for word in self.words), np.uint8).reshape(-1, size)
        return np.unpackbits(rows, axis=1, count=self.width, bitorder="little").astype(bool)

    @property
    def placeholder(self):
        """The same memory with pseudo-random contents."""
        size = (self.width + 7) // 8
        seed = f"{self.name} {self.width} {len(self.words)}".encode()
        random = hashlib.shake_256(seed).digest(size * len(self.words))
        mask = (1 << self.width) - 1
        words = (int.from_bytes(random[k:k + size], "little") & mask for k in range(0, len(random), size))
        return Memory(self.name, self.width, tuple(words))


def _memory(module, found):
    high, name, last, body = found.groups()
    words = [0] * (int(last) + 1)
    for place, base, digits in WORD.findall(body):
        words[int(place)] = int(digits, 16 if base == "h" else 10)
    return Memory(f"{module}.{name}".lstrip("\\"), int(high or 0) + 1, tuple(words))


def _each(text):
    """(match, Memory) of those memories that can be found again: a whole number of pages."""
    for module in MODULE.finditer(text):
        for found in MEMORY.finditer(text, *module.span()):
            if (int(found[3]) + 1) % PAGE == 0:
                yield found, _memory(module[1], found)


def memories(text):
    """{name: Memory} of the memories in block RAM of generated Verilog, of whole pages (:data:`~bnnhw.gateware.weights.PAGE`)."""
    return {memory.name: memory for _, memory in _each(text)}


def with_placeholders(text):
    """Generated Verilog with random words in these memories, and without the network's digest: the same for all networks that
    differ in nothing else."""
    parts, end = [], 0
    for found, memory in _each(text):
        own = found[2]
        parts += [text[end:found.start(4)],
                  *(f"    {own}[{k}] = {memory.width}'h{word:x};\n" for k, word in enumerate(memory.placeholder.words))]
        end = found.end(4)
    return DIGEST.sub("", "".join([*parts, text[end:]]))


def differing(text, other):
    """Names of the modules, in order, that differ in two texts of :func:`with_placeholders`."""
    mine, theirs = ({found[1].lstrip("\\"): found[0] for found in MODULE.finditer(own)} for own in (text, other))
    return [name for name in dict.fromkeys([*mine, *theirs]) if mine.get(name) != theirs.get(name)]
