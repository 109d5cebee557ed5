"""Warnings about usable rows, duplicates, and the report on a file."""
