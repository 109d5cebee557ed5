"""Records → examples: the formats, their detection, and column mappings."""
