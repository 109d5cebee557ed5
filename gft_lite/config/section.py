"""The base of every section of the configuration: frozen, strict about unknown keys, and without
infinite numbers.

Every number has an upper bound that no sensible run comes near. It catches a slip of the keyboard
(`1e9` for `1e-9`) before a model is loaded, not a bad choice.
"""

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
