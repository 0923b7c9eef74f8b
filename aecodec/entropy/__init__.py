"""Symbols <-> bytes, exactly: tables, the contexts of hyper-latents, the scale network, the coder, chunks.

No float decides anything here, so a file parses to the same symbols on every machine.
"""

from aecodec.entropy.chunk import (
    ChunkBytes,
    ChunkEncoder,
    EntropyModel,
    coded_symbols,
    decode_chunk,
    decode_chunk_partial,
    decode_payloads,
    decode_residual_step,
    empty_planes,
    encode_chunk,
    estimate_bits,
    step_source,
)
from aecodec.entropy.coder import (
    decode_hyper_latents,
    decode_residuals,
    encode_hyper_latents,
    encode_residuals,
)
from aecodec.entropy.dependent import MAX_ROWS, STATE_COUNT, Lanes, next_state
from aecodec.entropy.hyper import CONTEXT_COUNT, HyperTables, slope_of_hyper_rate, symbols_and_contexts
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
    tables_of,
)

__all__ = [
    "CONTEXT_COUNT",
    "FINE_UNIT",
    "INDEX_COUNT",
    "MAX_ROWS",
    "RESIDUAL_UNIT",
    "STATE_COUNT",
    "TABLE_COUNT",
    "ChunkBytes",
    "ChunkEncoder",
    "EntropyModel",
    "HyperTables",
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
    "empty_planes",
    "encode_chunk",
    "encode_hyper_latents",
    "encode_residuals",
    "estimate_bits",
    "fitted_tables",
    "group_of",
    "integer_frequencies",
    "logistic_tables",
    "next_state",
    "positions_of",
    "put_step",
    "slope_of_hyper_rate",
    "step_source",
    "symbols_and_contexts",
    "table_scales",
    "tables_of",
    "take_step",
]
