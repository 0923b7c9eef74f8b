"""Seeded mutations: of bytes, of fields and sections, of payloads behind right checksums, of alpha."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from random import Random

from tests.fuzz.drafts import Draft, Piece, png_chunks, png_file

ALPHA = 8
#: (offset, bytes) of the fields of the header.
FIELDS = ((8, 1), (9, 1), (10, 1), (11, 1), (12, 1), (13, 1), (14, 2), (16, 4), (20, 4), (24, 8), (32, 4))
SIZES = (*range(1, 5), 63, 64, 65, 127, 128, 129, 192, 200, 256, 257, 511, 513)
SMALL = (*range(17), 32, 127, 128, 223, 224, 225, 254, 255)
LARGE = (0, 32767, 32768, 32769, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
KINDS = (*range(10), 0x7F, 0x80, 0x81, 0x82, 0x83, 0x84, 0xEF, 0xF0, 0xFF)


class Mutator:
    """Changes files of a corpus.

    Args:
        corpus: whole files.
        sizes: values that width and height may be set to besides absurd ones.
    """

    def __init__(self, corpus: Sequence[bytes], sizes: Sequence[int] = SIZES) -> None:
        self._drafts = [Draft.of(data) for data in corpus]
        self._sizes = sizes

    def file(self, random: Random) -> bytes:
        """A mutated file."""
        draft = random.choice(self._drafts).copy()
        for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
            random.choice(self._changes)(self, random, draft)
        data = draft.to_bytes()
        return mutated(random, data) if random.random() < 0.1 else data

    # The header

    def _field(self, random: Random, draft: Draft) -> None:
        offset, size = random.choice(FIELDS)
        if offset in (16, 20):
            value = random.choice(self._sizes if random.random() < 0.9 else LARGE)
        else:
            value = random.choice(SMALL) if size == 1 else random.choice(LARGE)
        draft.header[offset : offset + size] = (value % 256**size).to_bytes(size, "little")
        draft.right = offset != 32 and random.random() < 0.97

    def _header_bytes(self, random: Random, draft: Draft) -> None:
        draft.header[:32] = mutated(random, bytes(draft.header[:32]))[:32]
        draft.right = random.random() < 0.5

    # Sections

    def _drop(self, random: Random, draft: Draft) -> None:
        if draft.pieces:
            del draft.pieces[random.randrange(len(draft.pieces))]

    def _repeat(self, random: Random, draft: Draft) -> None:
        if draft.pieces:
            index = random.randrange(len(draft.pieces))
            draft.pieces.insert(index, draft.pieces[index])

    def _exchange(self, random: Random, draft: Draft) -> None:
        if len(draft.pieces) >= 2:
            i, j = random.sample(range(len(draft.pieces)), 2)
            draft.pieces[i], draft.pieces[j] = draft.pieces[j], draft.pieces[i]

    def _other_kind(self, random: Random, draft: Draft) -> None:
        self._replace(random, draft, lambda piece: Piece(random.choice(KINDS), piece.payload))

    def _other_length(self, random: Random, draft: Draft) -> None:
        difference = random.choice((-(2**20), -8, -1, 1, 2, 7, 8, 9, 2**10, 2**23))
        self._replace(random, draft, lambda p: Piece(p.kind, p.payload, max(len(p.payload) + difference, 0)))

    def _other_checksum(self, random: Random, draft: Draft) -> None:
        checksum = random.choice((0, 2**32 - 1, random.getrandbits(32)))
        self._replace(random, draft, lambda p: Piece(p.kind, p.payload, checksum=checksum))

    def _insert(self, random: Random, draft: Draft) -> None:
        kind = random.choice(KINDS[ALPHA:]) if random.random() < 0.9 else random.choice(KINDS)
        piece = Piece(kind, random.randbytes(random.choice((0, 1, 8, 300))))
        draft.pieces.insert(random.randint(0, len(draft.pieces)), piece)

    def _split(self, random: Random, draft: Draft) -> None:
        """Sections of which the payloads are concatenated may be split anywhere."""
        indices = [index for index, piece in enumerate(draft.pieces) if piece.kind >= ALPHA]
        if indices:
            index = random.choice(indices)
            kind, payload = draft.pieces[index].kind, draft.pieces[index].payload
            cut = random.randint(0, len(payload))
            draft.pieces[index : index + 1] = [Piece(kind, payload[:cut]), Piece(kind, payload[cut:])]

    def _end(self, random: Random, draft: Draft) -> None:
        if random.random() < 0.5:
            draft.tail += random.randbytes(random.choice((1, 7, 8, 9)))
        else:
            draft.pieces = draft.pieces[: random.randint(0, len(draft.pieces))]

    # Payloads, with checksums that are right

    def _payload(self, random: Random, draft: Draft) -> None:
        self._replace(random, draft, lambda piece: Piece(piece.kind, mutated(random, piece.payload)))

    def _few_bits(self, random: Random, draft: Draft) -> None:
        self._replace(random, draft, lambda piece: Piece(piece.kind, flipped(random, piece.payload)))

    def _made_up(self, random: Random, draft: Draft) -> None:
        length = random.choice((0, 1, 3, 4, 5, 8, 9, 12, 100, 2000))
        content = random.choice((random.randbytes(length), b"\xff" * length, bytes(length), b"\x01" * length))
        self._replace(random, draft, lambda piece: Piece(piece.kind, content))

    def _foreign(self, random: Random, draft: Draft) -> None:
        """A payload from another place or another file."""
        others = random.choice(self._drafts).pieces or draft.pieces
        if others:
            payload = random.choice(others).payload
            self._replace(random, draft, lambda piece: Piece(piece.kind, payload))

    def _alpha(self, random: Random, draft: Draft) -> None:
        indices = [index for index, piece in enumerate(draft.pieces) if piece.kind == ALPHA]
        if indices:
            index = random.choice(indices)
            draft.pieces[index] = Piece(ALPHA, mutated_png(random, draft.pieces[index].payload))

    @staticmethod
    def _replace(random: Random, draft: Draft, change: Callable[[Piece], Piece]) -> None:
        if draft.pieces:
            index = random.randrange(len(draft.pieces))
            draft.pieces[index] = change(draft.pieces[index])

    _changes = (
        *(_field, _field, _header_bytes, _drop, _repeat, _exchange, _other_kind, _other_length),
        *(_other_checksum, _insert, _split, _end, _payload, _payload, _few_bits, _few_bits, _made_up),
        *(_foreign, _alpha, _alpha, _alpha),
    )


def flipped(random: Random, data: bytes) -> bytes:
    """One to three bits differ."""
    changed = bytearray(data)
    for _ in range(random.randint(1, 3)):
        if changed:
            changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def mutated(random: Random, data: bytes) -> bytes:
    """Bytes after a few changes of the kinds that fuzzers use."""
    for _ in range(random.choice((1, 1, 2, 4))):
        data = random.choice(_BYTE_CHANGES)(random, data)
    return data


def _span(random: Random, data: bytes) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.choice((1, 1, 2, 4, 8, 64)))


def _set(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data)
    value = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
    return data[:start] + bytes([value]) * (end - start) + data[end:]


def _add(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data)
    step = random.randint(-16, 16)
    return data[:start] + bytes((byte + step) % 256 for byte in data[start:end]) + data[end:]


def _delete(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data)
    return data[:start] + data[end:]


def _double(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data)
    return data[:end] + data[start:]


def _put_in(random: Random, data: bytes) -> bytes:
    start, end = _span(random, data)
    return data[:start] + random.randbytes(end - start + 1) + data[start:]


def _cut(random: Random, data: bytes) -> bytes:
    return data[: random.randint(0, len(data))]


def _append(random: Random, data: bytes) -> bytes:
    return data + random.choice((b"\0", b"\0\0\0\0", b"\x01", random.randbytes(4)))


_BYTE_CHANGES = (flipped, flipped, _set, _add, _delete, _double, _put_in, _cut, _append)


def mutated_png(random: Random, data: bytes) -> bytes:
    """A PNG file of which something is wrong or unusual, the checksums of its chunks being right."""
    chunks = png_chunks(data)
    indices = [index for index, (kind, _) in enumerate(chunks) if kind == b"IDAT"]
    if not indices or chunks[0][0] != b"IHDR":
        return mutated(random, data)
    choice = random.randrange(8)
    first, last = indices[0], indices[-1] + 1
    stream = b"".join(content for kind, content in chunks if kind == b"IDAT")
    if choice == 0:
        chunks[first:last] = [(b"IDAT", mutated(random, stream))]
    elif choice == 1:
        chunks[first:last] = [(b"IDAT", _changed_rows(random, stream))]
    elif choice == 2:
        cut = random.randint(0, len(stream))
        chunks[first:last] = [(b"IDAT", stream[:cut]), (b"IDAT", stream[cut:])]
    elif choice == 3:
        chunks[0] = (b"IHDR", mutated(random, chunks[0][1]))
    elif choice == 4:
        kind = random.choice((b"tEXt", b"tRNS", b"PLTE", b"IDAT", b"IHDR", b"IEND", b"acTL", b"zzzz"))
        chunks.insert(random.randint(0, len(chunks)), (kind, random.randbytes(random.choice((0, 1, 2, 13)))))
    elif choice == 5:
        del chunks[random.randrange(len(chunks))]
    elif choice == 6:
        chunks[-1] = (b"IEND", b"x")
    return png_file(chunks) + (b"\0" if choice == 7 else b"")


def _changed_rows(random: Random, stream: bytes) -> bytes:
    """The zlib stream of rows with other filters, or more or fewer bytes."""
    try:
        rows = bytearray(zlib.decompress(stream))
    except zlib.error:
        return stream
    choice = random.randrange(5)
    if choice == 0 and rows:
        rows[0] = random.choice((1, 2, 3, 4, 5, 6, 255))
    elif choice == 1:
        rows = bytearray(mutated(random, bytes(rows)))
    elif choice == 2:
        rows += bytes(random.choice((1, 2, 100)))
    elif choice == 3 and rows:
        del rows[-1]
    packed = zlib.compress(bytes(rows), random.choice((0, 1, 9)))
    return packed + random.randbytes(3) if choice == 4 else packed
