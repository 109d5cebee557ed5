"""The Model tab: preset, settings, memory forecast, and the command that will run."""
