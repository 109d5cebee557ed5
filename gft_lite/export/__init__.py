"""Export of an adapter: as a PEFT adapter, merged into its base, or as GGUF.

    check the inputs → trace the live model → write aside → trace the export → card → rename

The output folder stays empty until the parity gate has passed; a failed export leaves no file. The
gate computes in float32 on a CPU, and in the number format of the export on a GPU, to save memory.
A run that trained on 4-bit weights is merged into the full-precision base: the gate compares that
merge with full-precision base + adapter, and also reports the distance to the 4-bit policy.
"""

from gft_lite.export.flow import Export, export
from gft_lite.export.parity import Parity, ParityError

__all__ = ["Export", "Parity", "ParityError", "export"]
