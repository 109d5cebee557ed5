"""The part of JSON Schema that a reward needs, checked in linear time.

Understood (json-schema.org, draft 2020-12): type, enum, const, properties, required,
additionalProperties, items, minItems, maxItems, minLength, maxLength, minimum, maximum,
exclusiveMinimum, exclusiveMaximum, anyOf. `pattern` and `$ref` are left out on purpose: one can
backtrack for ever, the other can loop or reach the network.
"""

from __future__ import annotations

import difflib
from typing import Any

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int, float),
    "number": (int, float), "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
ANNOTATIONS = ("title", "description", "default", "examples", "$schema", "$id", "$comment")
_NUMBERS = (
    "minItems", "maxItems", "minLength", "maxLength",
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum",
)  # fmt: skip
KEYWORDS = (
    "type", "enum", "const", "properties", "required", "additionalProperties", "items", "anyOf",
    *_NUMBERS,
)  # fmt: skip


def schema_fault(schema: Any, where: str = "$") -> str | None:
    """What is wrong with a schema, and where; None for a schema that can be used."""
    if isinstance(schema, bool):
        return None
    if not isinstance(schema, dict):
        return f"the schema at {where} must be an object"
    for key, rule in schema.items():
        if key in ANNOTATIONS:
            continue
        if key not in KEYWORDS:
            near = difflib.get_close_matches(str(key), KEYWORDS, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(KEYWORDS)}"
            return f"the schema keyword {key!r} at {where} is not supported: {hint}"
        fault = _keyword_fault(key, rule, where)
        if fault:
            return fault
    return None


def _keyword_fault(key: str, rule: Any, where: str) -> str | None:
    here = f"{key!r} at {where}"
    if key == "type":
        names = rule if isinstance(rule, list) else [rule]
        if not names or any(not isinstance(name, str) or name not in TYPES for name in names):
            return f"{here} must be one of {', '.join(TYPES)}, or a list of them"
    elif key in _NUMBERS:
        if isinstance(rule, bool) or not isinstance(rule, (int, float)):
            return f"{here} must be a number"
    elif key == "required":
        if not isinstance(rule, list) or not all(isinstance(name, str) for name in rule):
            return f"{here} must be a list of names"
    elif key == "enum":
        return None if isinstance(rule, list) else f"{here} must be a list"
    elif key == "properties":
        if not isinstance(rule, dict):
            return f"{here} must be an object"
        faults = (schema_fault(part, f"{where}.{name}") for name, part in rule.items())
        return next(filter(None, faults), None)
    elif key == "anyOf":
        if not isinstance(rule, list) or not rule:
            return f"{here} must be a list of schemas"
        faults = (schema_fault(part, f"{where}(anyOf {i})") for i, part in enumerate(rule))
        return next(filter(None, faults), None)
    elif key in ("items", "additionalProperties"):
        return schema_fault(rule, f"{where}[]" if key == "items" else f"{where}.*")
    return None


def same(left: Any, right: Any) -> bool:
    """Equality of JSON values: 1 equals 1.0, true is not 1, the order of keys does not matter."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    both_numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
    return (both_numbers or type(left) is type(right)) and bool(left == right)


def has_type(value: Any, name: str) -> bool:
    """Whether a JSON value is of a JSON Schema type (true is no number, 2.0 is an integer)."""
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, TYPES[name])


def valid(value: Any, schema: Any) -> bool:
    """Whether a JSON value satisfies a schema that `schema_fault` has passed."""
    if isinstance(schema, bool):
        return schema
    return all(_holds(key, rule, value, schema) for key, rule in schema.items())


def _holds(key: str, rule: Any, value: Any, schema: dict[str, Any]) -> bool:
    if key == "type":
        return any(has_type(value, name) for name in (rule if isinstance(rule, list) else [rule]))
    if key == "enum":
        return any(same(value, allowed) for allowed in rule)
    if key == "const":
        return same(value, rule)
    if key == "anyOf":
        return any(valid(value, option) for option in rule)
    if isinstance(value, dict):
        if key == "required":
            return all(name in value for name in rule)
        if key == "properties":
            return all(valid(value[name], part) for name, part in rule.items() if name in value)
        if key == "additionalProperties":
            extra = value.keys() - schema.get("properties", {}).keys()
            return all(valid(value[name], rule) for name in extra)
    elif isinstance(value, list):
        if key == "items":
            return all(valid(item, rule) for item in value)
        return _in_bounds(key, rule, len(value), "Items")
    elif isinstance(value, str):
        return _in_bounds(key, rule, len(value), "Length")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        exclusive = {"exclusiveMinimum": value > rule, "exclusiveMaximum": value < rule} if (
            key.startswith("exclusive")
        ) else {}  # fmt: skip
        return exclusive.get(key, _in_bounds(key, rule, value, "imum"))
    return True


def _in_bounds(key: str, rule: Any, size: float, suffix: str) -> bool:
    if key == f"min{suffix}":
        return bool(size >= rule)
    return bool(size <= rule) if key == f"max{suffix}" else True
