"""The Train tab: runs and their queue, curves, and the group inspector."""
