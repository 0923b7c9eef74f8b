"""Symbols <-> bytes, exactly: the tables, the entropy coder, the integer scale network and the chunks.

No float decides anything here, so a file parses to the same symbols on every machine.
"""

from aecodec.entropy.chunk import (
    ChunkBytes,
    EntropyModel,
    decode_chunk,
    decode_chunk_partial,
    decode_hyper_latents,
    decode_residual_step,
    encode_chunk,
    estimate_bits,
)
from aecodec.entropy.coder import decode_symbols, encode_symbols
from aecodec.entropy.scales import IntegerScaleNetwork, group_of, positions_of, put_step, take_step
from aecodec.entropy.tables import Tables, fitted_tables, integer_frequencies, logistic_tables, table_scales

__all__ = [
    "ChunkBytes",
    "EntropyModel",
    "IntegerScaleNetwork",
    "Tables",
    "decode_chunk",
    "decode_chunk_partial",
    "decode_hyper_latents",
    "decode_residual_step",
    "decode_symbols",
    "encode_chunk",
    "encode_symbols",
    "estimate_bits",
    "fitted_tables",
    "group_of",
    "integer_frequencies",
    "logistic_tables",
    "positions_of",
    "put_step",
    "table_scales",
    "take_step",
]
