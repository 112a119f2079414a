"""Compressed pieces that can be put together in any order to one gzip member.

Each piece ends with a full flush: it begins and ends on a byte and refers to nothing before
it (RFC 1951), so what did not change need not be compressed again. One member, since many
clients read only the first member of a gzip stream (RFC 1952).
"""

import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

LEVEL = 1
"""Higher levels cost up to three times the CPU for a tenth of the bytes."""

_GZIP_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"


def _compressor() -> "zlib._Compress":
    return zlib.compressobj(LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text, compressed."""

    data: bytes
    """Raw deflate, ended by a full flush."""
    length: int
    """Bytes of the text."""
    crc: int
    """CRC-32 of the text."""

    def text(self) -> bytes:
        """The text itself."""
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(self.data)


class Packer:
    """Makes pieces, with one compressor for all of them."""

    def __init__(self) -> None:
        self._compress = _compressor()

    def piece(self, text: bytes) -> Piece:
        """The text as a piece."""
        data = self._compress.compress(text) + self._compress.flush(zlib.Z_FULL_FLUSH)
        return Piece(data, len(text), zlib.crc32(text))


@lru_cache(maxsize=4096)
def _crc_of_zeros(length: int) -> int:
    return zlib.crc32(bytes(length))


def joined(pieces: Iterable[Piece]) -> Piece:
    """The pieces, one after the other, as one."""
    data, length, crc = [], 0, 0
    for piece in pieces:
        data.append(piece.data)
        length += piece.length
        # CRC-32 is affine: what stood before is carried over as many zeros as the piece is
        # long, and the zeros' own share is taken out again. No text is needed for it.
        carried = zlib.crc32(bytes(piece.length), crc) ^ _crc_of_zeros(piece.length)
        crc = carried ^ piece.crc
    return Piece(b"".join(data), length, crc)


def gzip_member(piece: Piece, tail: bytes) -> bytes:
    """The piece and the text `tail` after it, as one gzip member."""
    compressor = _compressor()
    end = compressor.compress(tail) + compressor.flush()
    size = (piece.length + len(tail)) & 0xFFFFFFFF
    trailer = struct.pack("<II", zlib.crc32(tail, piece.crc), size)
    return b"".join((_GZIP_HEADER, piece.data, end, trailer))
