"""Trained adapters: their record, several side by side, and mixes of them.

record    adapter folders, their provenance, how a run writes one
compare   a base and its adapters on the same prompts
mix       weighted sums of adapters, and the greedy soup
"""

from gft_lite.adapters.record import (
    FIXED_PROMPTS,
    Record,
    adapter_folder,
    add_metrics,
    bare_record,
    base_record,
    model_of,
    record_of,
    run_of,
    save,
    write_record,
)

__all__ = [
    "FIXED_PROMPTS",
    "Record",
    "adapter_folder",
    "add_metrics",
    "bare_record",
    "base_record",
    "model_of",
    "record_of",
    "run_of",
    "save",
    "write_record",
]
