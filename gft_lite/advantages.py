"""Documented import path of `gft_lite.groups.advantages`."""

from gft_lite.groups.advantages import EPSILON, group_advantages, is_degenerate

__all__ = ["EPSILON", "group_advantages", "is_degenerate"]
