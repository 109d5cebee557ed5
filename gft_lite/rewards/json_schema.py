"""JSON Schema for the `json` reward, checked with the `jsonschema` package.

The dialect is draft 2020-12, or the one that `$schema` names. References must stay inside the
schema (`#/$defs/NAME`); nothing is ever fetched. A `pattern` may backtrack without end on some
text, so documents are checked in the scoring process only, under its time limit. `format` is an
annotation. Unknown keywords, which `jsonschema` ignores, are refused: most are typing errors.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

ANNOTATIONS = (
    "$schema", "$id", "$anchor", "$dynamicAnchor", "$comment", "$defs", "$vocabulary",
    "definitions", "title", "description", "default", "examples", "deprecated", "readOnly",
    "writeOnly", "contentEncoding", "contentMediaType", "contentSchema", "then", "else",
    "discriminator",
)  # fmt: skip
# Keywords whose value is a mapping from names to schemas. Other values are a schema, a list of
# schemas, or hold none.
_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_DATA = ("enum", "const", "default", "examples", "discriminator", "dependentRequired")


def schema_fault(schema: Any) -> str | None:
    """What is wrong with a schema, and where; None for a schema that can be used."""
    from jsonschema.exceptions import best_match
    from referencing.exceptions import Unresolvable

    try:
        validator = _validator(json.dumps(schema, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        return f"the schema must be JSON: {error}"
    keywords = (*validator.VALIDATORS, *ANNOTATIONS)
    for where, part in _subschemas(schema, "$"):
        for keyword in part:
            if keyword not in keywords:
                near = difflib.get_close_matches(str(keyword), keywords, 1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(keywords)}"
                return f"the schema keyword {keyword!r} at {where} is not supported: {hint}"
        for keyword in ("$ref", "$dynamicRef"):
            if not str(part.get(keyword, "#")).startswith("#"):
                return (
                    f"the reference {part[keyword]!r} at {where} leaves the schema: copy what it "
                    "points to into $defs, and write #/$defs/NAME"
                )
    metaschema = type(validator)(validator.META_SCHEMA, format_checker=validator.FORMAT_CHECKER)
    violation = best_match(metaschema.iter_errors(schema))
    if violation is not None:
        where = "".join(f".{name}" for name in violation.absolute_path)
        return f"the schema is not valid at ${where}: {violation.message:.300}"
    resolver = validator._resolver
    for where, part in _subschemas(schema, "$"):
        seen: list[str] = []
        while isinstance(part, dict) and isinstance(reference := part.get("$ref"), str):
            if reference in seen:
                return f"the reference {reference!r} at {where} refers to itself"
            seen.append(reference)
            try:
                part = resolver.lookup(reference).contents
            except Unresolvable:
                return f"the reference {reference!r} at {where} points to nothing in the schema"
    return None


def _subschemas(schema: Any, where: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in a schema, itself included, and the place of each."""
    if not isinstance(schema, dict):
        return
    yield where, schema
    for keyword, rule in schema.items():
        if keyword in _NAMED and isinstance(rule, dict):
            for name, part in rule.items():
                inner = name if keyword == "properties" else f"{keyword}.{name}"
                yield from _subschemas(part, f"{where}.{inner}")
        elif keyword not in _DATA:
            for place, part in enumerate(rule if isinstance(rule, list) else [rule]):
                inner = f"{keyword}[{place}]" if isinstance(rule, list) else keyword
                yield from _subschemas(part, f"{where}.{inner}")


@lru_cache(maxsize=64)
def _validator(schema_json: str) -> Any:
    """The validator of a schema. Its registry is empty and has no way to fetch another schema."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry

    schema = json.loads(schema_json)
    kind = validator_for(schema, default=Draft202012Validator)
    return kind(schema, registry=Registry())


def warm_up(schema: Any) -> None:
    """Import `jsonschema`, so that the first response is not charged for it."""
    _validator(json.dumps(schema))


def checks(document: Any, schema: Any) -> list[bool]:
    """Whether the document is valid, then whether each declared property is there and valid.

    Args:
        document: a JSON value.
        schema: a schema that `schema_fault` has passed.
    """
    validator = _validator(json.dumps(schema))
    results = [_is_valid(validator, document)]
    for name, part in (schema.get("properties", {}) if isinstance(schema, dict) else {}).items():
        present = isinstance(document, dict) and name in document
        results.append(present and _is_valid(validator.evolve(schema=part), document[name]))
    return results


def _is_valid(validator: Any, document: Any) -> bool:
    try:
        return bool(validator.is_valid(document))
    except RecursionError:  # a document nested deeper than the check can follow
        return False
