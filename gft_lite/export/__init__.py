"""Handing an adapter on: as a PEFT adapter, merged into its base, or as GGUF.

    look up and refuse → ask the live model → write aside → ask what was written → card → rename

Nothing is in the output folder before the parity gate has passed; what fails leaves no file behind.
The gate computes in float32 on a CPU; on a GPU in the type of the export, for memory's sake.
A run that trained on 4-bit weights is merged into the full-precision base: the gate compares that
merge with full-precision base + adapter, and the distance to the 4-bit policy is measured and said.
"""

from gft_lite.export.flow import Export, export
from gft_lite.export.parity import Parity, ParityError

__all__ = ["Export", "Parity", "ParityError", "export"]
