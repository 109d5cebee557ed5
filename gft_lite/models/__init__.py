"""Models behind one narrow protocol; everything a library does oddly stays in its file here."""

from gft_lite.models.base import Generated, Policy, Sampling, TokenStats
from gft_lite.models.load import load_policy, load_tokenizer

__all__ = ["Generated", "Policy", "Sampling", "TokenStats", "load_policy", "load_tokenizer"]
