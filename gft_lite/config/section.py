"""The base of every section of the configuration, and how differences are laid over a section.

Sections are frozen, refuse unknown keys and infinite numbers. Every number has an upper bound that
no sensible run comes near. The bound catches a slip of the keyboard (`1e9` for `1e-9`) before a
model is loaded, not a bad choice.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A group of settings; a field's docstring is its documentation."""

    model_config = ConfigDict(
        allow_inf_nan=False,
        extra="forbid",
        frozen=True,
        populate_by_name=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,
    )

    @classmethod
    def merge(cls, lower: Any, upper: Any) -> Any:
        """The settings `lower` with the differences `upper` over them, both plain data.

        Sections with a rule of their own override this.
        """
        return merge_mappings(lower, upper)


def merge_mappings(lower: Any, upper: Any) -> Any:
    """Two mappings are merged key by key; anything else is replaced."""
    if not (isinstance(lower, Mapping) and isinstance(upper, Mapping)):
        return upper
    return {**lower, **{key: merge_mappings(lower.get(key), upper[key]) for key in upper}}


def merge_choice(lower: Any, upper: Any, default: str | None = None) -> Any:
    """Merge a section that is chosen by its `name`: another choice starts from its own defaults,
    not with the options of the one before.

    Args:
        lower, upper: a name, or a mapping with `name` and options.
        default: the name that a mapping without one has.
    """
    upper = {"name": upper} if isinstance(upper, str) else upper
    lower = {"name": lower} if isinstance(lower, str) else lower
    if not (isinstance(lower, Mapping) and isinstance(upper, Mapping)):
        return upper
    if default is not None:
        lower = {"name": default, **lower}
    replaced = upper.get("name", lower.get("name")) != lower.get("name")
    if replaced or "parts" in upper or "file" in upper:  # a reward of parts, or from a file
        return upper
    return merge_mappings(lower, upper)
