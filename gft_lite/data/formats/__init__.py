"""Records → examples: formats, their detection, and mappings of columns."""
