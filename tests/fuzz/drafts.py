"""A file taken apart so that its parts can be changed, and put together with checksums right or wrong."""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

HEADER_BYTES = 36
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


@dataclass
class Piece:
    """A section; ``length`` and ``checksum`` are what stands in its head if that is not the truth."""

    kind: int
    payload: bytes
    length: int | None = None
    checksum: int | None = None

    def to_bytes(self) -> bytes:
        length = len(self.payload) if self.length is None else self.length
        head = bytes([self.kind]) + (length % 2**24).to_bytes(3, "little")
        checksum = zlib.crc32(self.payload, zlib.crc32(head)) if self.checksum is None else self.checksum
        return head + checksum.to_bytes(4, "little") + self.payload


@dataclass
class Draft:
    """A file; ``right`` says that the checksum of the header is computed when it is put together."""

    header: bytearray
    pieces: list[Piece] = field(default_factory=list)
    tail: bytes = b""
    right: bool = True

    @classmethod
    def of(cls, data: bytes) -> Draft:
        """Any bytes; what is no whole section is the tail."""
        draft = cls(bytearray(data[:HEADER_BYTES]))
        start = HEADER_BYTES
        while start + 8 <= len(data):
            end = start + 8 + int.from_bytes(data[start + 1 : start + 4], "little")
            if end > len(data):
                break
            piece = Piece(data[start], data[start + 8 : end])
            checksum = int.from_bytes(data[start + 4 : start + 8], "little")
            if piece.to_bytes()[4:8] != data[start + 4 : start + 8]:
                piece.checksum = checksum
            draft.pieces.append(piece)
            start = end
        draft.tail = data[start:]
        draft.right = zlib.crc32(draft.header[:32]).to_bytes(4, "little") == draft.header[32:]
        return draft

    def copy(self) -> Draft:
        pieces = [Piece(piece.kind, piece.payload, piece.length, piece.checksum) for piece in self.pieces]
        return Draft(bytearray(self.header), pieces, self.tail, self.right)

    def to_bytes(self) -> bytes:
        header = bytes(self.header)
        if self.right and len(header) == HEADER_BYTES:
            header = header[:32] + zlib.crc32(header[:32]).to_bytes(4, "little")
        return header + b"".join(piece.to_bytes() for piece in self.pieces) + self.tail


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """(type, content) of the chunks of a PNG file; empty when it is none."""
    chunks: list[tuple[bytes, bytes]] = []
    at = len(PNG_SIGNATURE)
    while data.startswith(PNG_SIGNATURE) and at + 12 <= len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4], "big")
        if end > len(data):
            break
        chunks.append((data[at + 4 : at + 8], data[at + 8 : end - 4]))
        at = end
    return chunks


def png_file(chunks: list[tuple[bytes, bytes]]) -> bytes:
    """The mirror of :func:`png_chunks`, with the checksums right."""
    parts = [
        len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")
        for kind, content in chunks
    ]
    return PNG_SIGNATURE + b"".join(parts)
