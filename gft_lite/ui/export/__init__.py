"""The Export tab: adapters, merged models and GGUF files to download."""
