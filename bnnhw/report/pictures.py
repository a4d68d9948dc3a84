"""Images of a data set as PNG files inside a page, and scores as columns."""

import base64
import binascii
import struct
import zlib

import numpy as np

__all__ = ["columns", "data_uri", "is_picture", "png"]

MOST = 128              # rows or columns of an input that is shown as a picture
STORED = 65535          # bytes of an uncompressed block of deflate


def is_picture(type):
    """Whether a TensorType's values can be looked at: grey or coloured pixels in rows."""
    return len(type.shape) == 3 and type.shape[2] in (1, 3) and max(type.shape[:2]) <= MOST and type.shape != (1, 1, 1)


def _chunk(name, data):
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", binascii.crc32(name + data))


def png(pixels):
    """``pixels``, a uint8 array (H, W, 1 or 3), as a PNG file.

    Not compressed, so that the bytes depend on no version of zlib.
    """
    height, width, channels = pixels.shape
    rows = np.concatenate([np.zeros((height, 1), np.uint8), pixels.reshape(height, -1)], axis=1).tobytes()
    blocks = [rows[start:start + STORED] for start in range(0, len(rows), STORED)]
    stored = b"".join(struct.pack("<BHH", k == len(blocks) - 1, len(block), ~len(block) & 0xFFFF) + block
                      for k, block in enumerate(blocks))
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if channels == 3 else 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header)
            + _chunk(b"IDAT", b"\x78\x01" + stored + struct.pack(">I", zlib.adler32(rows))) + _chunk(b"IEND", b""))


def data_uri(x, type):
    """An input of ``type``, int array (H, W, 1 or 3), as the URI of a picture: its lowest value black, its highest white."""
    span = max(type.hi - type.lo, 1)
    pixels = ((np.asarray(x, np.int64) - type.lo) * 255 // span).astype(np.uint8)
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()


def columns(scores):
    """Height of each score between the least of them (0.0) and the greatest (1.0); all 1.0 where they are equal."""
    least, span = min(scores), max(scores) - min(scores)
    return [(score - least) / span if span else 1.0 for score in scores]
