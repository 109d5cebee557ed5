"""`json`: structured output, graded in parts so that half-right output earns something.

The response is one JSON document, alone or as the only fenced block (```json … ```).

    parses  0.3   it is JSON (no NaN, no Infinity)
    keys    0.3   share of the required keys that are there (all of it if none is required)
    valid   0.4   with a schema: share of checks that hold, one for each declared property (there
                  and valid) and one for the whole document; without one: `type` alone

With `match_answer` half of the value is for equalling the row's answer, and the above is the other
half. Required keys are those of the option, else those of the schema. Documents are checked against
a schema in the scoring process; without a schema nothing can take long.
"""

from __future__ import annotations

import json
import re
from typing import Any

from gft_lite.rewards.base import ERROR, Need, Option, Options, Target
from gft_lite.rewards.json_schema import checks, schema_fault
from gft_lite.rewards.json_schema import warm_up as warm_up_schema
from gft_lite.types import Score

TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "integer": (int, float),
    "number": (int, float), "boolean": (bool,), "null": (type(None),),
}  # fmt: skip
OPTIONS = {
    "schema": Option(
        None, (dict, type(None)), "a JSON schema; `$ref` must point inside it (#/$defs/NAME)"
    ),
    "required": Option(None, (list, type(None)), "keys that must be there"),
    "type": Option(None, (str, type(None)), "what the document must be", tuple(TYPES)),
    "match_answer": Option(False, (bool,), "also compare with the row's answer"),
}
WEIGHTS = {"parses": 0.3, "keys": 0.3, "valid": 0.4}

_FENCE = re.compile(r"```[A-Za-z0-9_-]*[ \t]*\n(.*?)```", re.DOTALL)


def needs_rule(options: Options) -> Need:
    """The row's answer is only used with `match_answer`."""
    return "answer" if options["match_answer"] else None


def validate(options: Options) -> str | None:
    """The schema is one that can be checked, and the required keys are names."""
    if not all(isinstance(name, str) for name in options["required"] or ()):
        return "required must be a list of names"
    return None if options["schema"] is None else schema_fault(options["schema"])


def complain(target: Target, options: Options) -> str | None:
    """A reference to compare with is JSON itself."""
    if not options["match_answer"]:
        return None
    try:
        read(target.answer or "")
    except ValueError:
        return f"its answer {(target.answer or '')[:60]!r} is not JSON, and match_answer is on"
    return None


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def read(text: str) -> Any:
    """The JSON document that a text is; raises ValueError if it is none."""
    fenced = _FENCE.findall(text)
    document = fenced[0] if len(fenced) == 1 else text
    try:
        return json.loads(document, parse_constant=_no_constant)
    except RecursionError as deep:
        raise ValueError("nested too deeply") from deep


def quick(response: str, target: Target, **options: Any) -> Score | None:
    """The score if there is no schema, else None."""
    return score(response, target, **options) if options.get("schema") is None else None


def warm_up(options: Options) -> None:
    """Prepare the scoring process for the first response."""
    if options["schema"] is not None:
        warm_up_schema(options["schema"])


def score(
    response: str,
    target: Target,
    *,
    schema: dict[str, Any] | None = None,
    required: list[str] | None = None,
    type: str | None = None,
    match_answer: bool = False,
) -> Score:
    """The weighted parts; a response that is no JSON is "unparsed"."""
    try:
        document = read(response)
    except ValueError:
        return Score(0.0, "unparsed", dict.fromkeys(WEIGHTS, 0.0))
    if required is None:
        required = (schema or {}).get("required", [])
    right_type = type is None or has_type(document, type)
    parts = {
        "parses": 1.0,
        "keys": _share_of_keys(document, required) if required else float(right_type),
        "valid": _share_valid(document, schema, right_type),
    }
    value = sum(WEIGHTS[name] * part for name, part in parts.items())
    if match_answer:
        try:
            equals = same(document, read(target.answer or ""))
        except ValueError:
            return ERROR
        parts["equals"] = float(equals)
        value = 0.5 * value + 0.5 * equals
    return Score(min(1.0, value), "ok", parts)


def _share_of_keys(document: Any, required: list[str]) -> float:
    if not isinstance(document, dict):
        return 0.0
    return sum(name in document for name in required) / len(required)


def _share_valid(document: Any, schema: dict[str, Any] | None, right_type: bool) -> float:
    if schema is None:
        return float(right_type)
    whole, *properties = checks(document, schema)
    return sum([right_type and whole, *properties]) / (1 + len(properties))


def has_type(value: Any, name: str) -> bool:
    """Whether a JSON value is of a JSON Schema type (true is no number, 2.0 is an integer)."""
    if isinstance(value, bool):
        return name == "boolean"
    if name == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, TYPES[name])


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
