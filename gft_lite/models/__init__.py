"""Models behind one narrow protocol. Workarounds for a library stay in its own file."""

from gft_lite.models.base import Generated, Policy, Sampling, TokenStats
from gft_lite.models.load import load_policy, load_tokenizer

__all__ = ["Generated", "Policy", "Sampling", "TokenStats", "load_policy", "load_tokenizer"]
