"""Constants that the memory forecast and the models share."""

CHUNK_ELEMENTS = 2**24  # logits of one chunk in training: 64 MiB in float32
