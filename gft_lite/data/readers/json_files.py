"""JSON and JSON Lines to records, with the standard library.

* JSON: an array of objects, an object of equally long arrays, `{"data": [rows]}`, or one object,
  which is one row. The file is read whole. JSON Lines under a .json name are detected.
* JSON Lines: one object a line; blank lines are skipped; the row number is the line number.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

from gft_lite.data.readers.files import DataFile
from gft_lite.data.rows import Record, broken, kind_of, quoted
from gft_lite.types import DataError

ROW_LIST_KEYS = ("data", "rows", "examples", "train", "items", "instances")
ONE_ROW_KEYS = ("messages", "conversations", "conversation")
WHOLE_FILE_BYTES = 2**30  # a JSON document takes several times its size in memory


class _RepeatedKey(dict[str, object]):
    """An object with a repeated key, one of whose values would be lost."""

    key: str = ""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) == len(pairs):
        return fields
    names = [name for name, _ in pairs]
    repeated = _RepeatedKey(fields)
    repeated.key = next(name for name in names if names.count(name) > 1)
    return repeated


def _record(row: int, value: object) -> Record:
    if isinstance(value, _RepeatedKey):
        return broken(row, f"the key '{value.key}' stands twice in this row; keep one of them")
    if not isinstance(value, dict):
        return broken(row, f"is {kind_of(value)}, not an object with named fields", value)
    return Record(row, value)


def read_jsonl(file: DataFile) -> Iterator[Record]:
    """One object a line."""
    for number, line in enumerate(file.lines(), start=1):
        stripped = line.strip()
        if not stripped:
            continue
        try:
            yield _record(number, json.loads(stripped, object_pairs_hook=_object))
        except json.JSONDecodeError as error:
            if error.pos >= len(stripped) or error.msg.startswith("Unterminated"):
                reason = "the line stops in the middle (half-written?); complete or remove it"
                yield broken(number, reason, stripped[-40:])
            else:
                reason = f"is not JSON ({error.msg}, character {error.pos + 1} of the line)"
                yield broken(number, reason, stripped[max(0, error.pos - 16) : error.pos + 24])
        except (ValueError, RecursionError) as error:
            yield broken(number, f"is not usable JSON ({_short(error)})", stripped)


def read_json(file: DataFile) -> Iterator[Record]:
    """An array of objects, an object of arrays, or one object."""
    size = file.path.stat().st_size
    if size > WHOLE_FILE_BYTES:
        raise DataError(
            f"{file.name}: is one JSON document of {size / 2**30:.1f} GiB, which must be held in "
            "memory whole; write it as JSON Lines (`jq -c '.[]'`), which is streamed"
        )
    text = "".join(file.lines())
    try:
        document = json.loads(text, object_pairs_hook=_object)
    except json.JSONDecodeError as error:
        if error.msg.startswith("Extra data"):
            yield from read_jsonl(file)
            return
        # An error at the end is a half-written file, an error before it a typing error.
        at_end = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        advice = (
            "the file stops in the middle (half-written?): write or download it again"
            if at_end
            else "correct this place"
        )
        near = quoted(text[max(0, error.pos - 24) : error.pos + 16])
        raise DataError(
            f"{file.name}: line {error.lineno}, column {error.colno} is not JSON ({error.msg}, "
            f"near {near}); {advice}"
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{file.name}: is not usable JSON ({_short(error)}); write it as JSON Lines, one "
            "object a line, so that single rows can be named"
        ) from error
    for number, value in enumerate(_rows(file.name, document), start=1):
        yield _record(number, value)


def _short(error: Exception) -> str:
    return "nested too deeply" if isinstance(error, RecursionError) else str(error)[:80]


def _rows(name: str, document: object) -> Iterator[object]:
    if isinstance(document, list):
        yield from document
        return
    if not isinstance(document, dict):
        raise DataError(
            f"{name}: holds {kind_of(document)}, not rows; write an array of objects, "
            'such as [{"prompt": "…", "expert": "…"}]'
        )
    if isinstance(document, _RepeatedKey):
        raise DataError(f"{name}: the key '{document.key}' stands twice; keep one of them")
    for key in ROW_LIST_KEYS:
        rows = document.get(key)
        if isinstance(rows, list) and rows and all(isinstance(row, dict) for row in rows):
            yield from rows
            return
    arrays = {key: value for key, value in document.items() if isinstance(value, list)}
    if len(arrays) < len(document) or set(arrays) & set(ONE_ROW_KEYS):
        yield document
        return
    lengths = {key: len(value) for key, value in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(
            f"{name}: the columns have different lengths ({_listed(lengths)}), so rows cannot be "
            "formed; make them equally long, or write one object a row"
        )
    for values in zip(*arrays.values(), strict=True):
        yield dict(zip(arrays, values, strict=True))


def _listed(lengths: dict[str, int]) -> str:
    return ", ".join(f"'{name}' {count}" for name, count in list(lengths.items())[:6])
