"""Groups of responses to one prompt: built, scored, and turned into advantages.

construction   demonstrations and self responses → scored groups
advantages     rewards of a group → advantages
"""

from gft_lite.groups.advantages import group_advantages, is_degenerate
from gft_lite.groups.construction import (
    BuiltGroups,
    Chooser,
    GroupCounts,
    Sampler,
    build_groups,
    score_groups,
)

__all__ = [
    "BuiltGroups",
    "Chooser",
    "GroupCounts",
    "Sampler",
    "build_groups",
    "group_advantages",
    "is_degenerate",
    "score_groups",
]
