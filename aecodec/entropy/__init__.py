"""Symbols <-> bytes, exactly: the tables, the entropy coder, the integer scale network and the chunks.

No float decides anything here, so a file parses to the same symbols on every machine.
"""

from aecodec.entropy.chunk import (
    ChunkBytes,
    ChunkEncoder,
    EntropyModel,
    coded_symbols,
    decode_chunk,
    decode_chunk_partial,
    decode_hyper_latents,
    decode_payloads,
    decode_residual_step,
    encode_chunk,
    estimate_bits,
)
from aecodec.entropy.coder import decode_residuals, decode_symbols, encode_residuals, encode_symbols
from aecodec.entropy.dependent import MAX_ROWS, STATE_COUNT, Lanes, next_state
from aecodec.entropy.scales import IntegerScaleNetwork, group_of, positions_of, put_step, take_step
from aecodec.entropy.tables import (
    FINE_UNIT,
    INDEX_COUNT,
    RESIDUAL_UNIT,
    TABLE_COUNT,
    Tables,
    fitted_tables,
    integer_frequencies,
    logistic_tables,
    table_scales,
)

__all__ = [
    "FINE_UNIT",
    "INDEX_COUNT",
    "MAX_ROWS",
    "RESIDUAL_UNIT",
    "STATE_COUNT",
    "TABLE_COUNT",
    "ChunkBytes",
    "ChunkEncoder",
    "EntropyModel",
    "IntegerScaleNetwork",
    "Lanes",
    "Tables",
    "coded_symbols",
    "decode_chunk",
    "decode_chunk_partial",
    "decode_hyper_latents",
    "decode_payloads",
    "decode_residual_step",
    "decode_residuals",
    "decode_symbols",
    "encode_chunk",
    "encode_residuals",
    "encode_symbols",
    "estimate_bits",
    "fitted_tables",
    "group_of",
    "integer_frequencies",
    "logistic_tables",
    "next_state",
    "positions_of",
    "put_step",
    "table_scales",
    "take_step",
]
