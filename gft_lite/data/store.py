"""Sequences of examples that stay on disk if a file is large.

Up to `IN_MEMORY_ROWS` examples are a tuple. More examples are JSON lines in an unnamed temporary
file; only their offsets are in memory, and an example is decoded when it is indexed (about ten
microseconds). Both are immutable sequences.
"""

from __future__ import annotations

import json
import tempfile
import threading
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import IO, overload

from gft_lite.types import Example, Message

IN_MEMORY_ROWS = 20_000


def merge_responses(first: Example, other: Example) -> Example:
    """The first example with the responses of both, without repetition."""
    return replace(
        first,
        experts=tuple(dict.fromkeys((*first.experts, *other.experts))),
        teachers=tuple(dict.fromkeys((*first.teachers, *other.teachers))),
    )


def subset(examples: Sequence[Example], indices: Sequence[int]) -> Sequence[Example]:
    """The examples at these indices, in memory or on disk like the originals."""
    if len(indices) == len(examples):
        return examples
    if isinstance(examples, StoredExamples):
        return examples.subset(indices)
    return tuple(examples[index] for index in indices)


def filter_examples(
    examples: Sequence[Example], keep: Callable[[Example], bool]
) -> Sequence[Example]:
    """The examples for which `keep` is true, in memory or on disk like the originals."""
    return subset(examples, array("q", (n for n, e in enumerate(examples) if keep(e))))


class _DiskStore:
    """Lines in a temporary file that is deleted when the program ends."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="gft-lite-")  # noqa: SIM115
        self._ends = array("q", [0])
        self._lock = threading.Lock()

    def put(self, example: Example) -> int:
        """Append an example; returns its number."""
        turns = [(message.role, message.content) for message in example.prompt]
        parts = (turns, example.experts, example.teachers, example.answer, example.row)
        line = json.dumps(parts, ensure_ascii=False).encode("utf-8")
        self._file.write(line)
        self._ends.append(self._ends[-1] + len(line))
        return len(self._ends) - 2

    def get(self, number: int) -> Example:
        """The example of this number."""
        start, end = self._ends[number], self._ends[number + 1]
        with self._lock:
            self._file.seek(start)
            line = self._file.read(end - start)
        turns, experts, teachers, answer, row = json.loads(line)
        prompt = tuple(Message(role, content) for role, content in turns)
        return Example(prompt, tuple(experts), tuple(teachers), answer, row)


class StoredExamples(Sequence[Example]):
    """Examples on disk.

    Args:
        store: holds the examples.
        numbers: number in the store of each example.
        joined: numbers of further rows of a group, by the number of its first row.
    """

    def __init__(
        self, store: _DiskStore, numbers: Sequence[int], joined: Mapping[int, Sequence[int]]
    ) -> None:
        self._store, self._numbers, self._joined = store, numbers, joined

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> StoredExamples: ...

    def __getitem__(self, index: int | slice) -> Example | StoredExamples:
        if isinstance(index, slice):
            return self.subset(range(len(self))[index])
        number = self._numbers[index]
        example = self._store.get(number)
        for other in self._joined.get(number, ()):
            example = merge_responses(example, self._store.get(other))
        return example

    def subset(self, indices: Iterable[int]) -> StoredExamples:
        """The examples at these indices."""
        numbers = array("q", (self._numbers[index] for index in indices))
        return StoredExamples(self._store, numbers, self._joined)


class ExampleBuffer:
    """Collects examples in memory, and on disk once there are more than `in_memory_rows`."""

    def __init__(self, in_memory_rows: int = IN_MEMORY_ROWS) -> None:
        self._in_memory_rows = in_memory_rows
        self._memory: list[Example] = []
        self._store: _DiskStore | None = None
        self._numbers = array("q")
        self._joined: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._numbers) if self._store else len(self._memory)

    def add(self, example: Example) -> None:
        """Append an example."""
        if self._store is None and len(self._memory) >= self._in_memory_rows:
            self._store = _DiskStore()
            self._numbers.extend(map(self._store.put, self._memory))
            self._memory = []
        if self._store is None:
            self._memory.append(example)
        else:
            self._numbers.append(self._store.put(example))

    def join(self, index: int, other: Example) -> None:
        """Add the responses of another row to the example at an index."""
        if self._store is None:
            self._memory[index] = merge_responses(self._memory[index], other)
        else:
            self._joined.setdefault(self._numbers[index], []).append(self._store.put(other))

    def sequence(self) -> Sequence[Example]:
        """All examples, as an immutable sequence."""
        if self._store is None:
            return tuple(self._memory)
        return StoredExamples(self._store, self._numbers, self._joined)
