"""Training objectives: one a file, each a pure function of per-token log-probs.

A method never reduces and never sees logits. It turns what `LossInputs` holds into a per-token loss
of the same shape; the trainer alone divides, by the token count of the whole optimizer step.
"""

from gft_lite.methods.asft import ASFT
from gft_lite.methods.base import LossInputs, Method
from gft_lite.methods.chord import CHORD
from gft_lite.methods.dft import DFT
from gft_lite.methods.gft import GFT
from gft_lite.methods.grpo import GRPO
from gft_lite.methods.luffy import LUFFY
from gft_lite.methods.psft import PSFT
from gft_lite.methods.sft import SFT

METHODS: dict[str, Method] = {
    "sft": SFT,
    "dft": DFT,
    "asft": ASFT,
    "psft": PSFT,
    "grpo": GRPO,
    "luffy": LUFFY,
    "chord": CHORD,
    "gft": GFT,
}

__all__ = ["METHODS", "LossInputs", "Method"]
