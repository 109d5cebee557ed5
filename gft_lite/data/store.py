"""Examples of a large file: on disk, a few bytes of each in memory.

Up to `IN_MEMORY_ROWS` examples are a tuple. Beyond that they lie as JSON lines in an unnamed
temporary file, of which only the offsets are held, and an example is built when it is asked for:
any index in about ten microseconds. Both are sequences that never change.
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


def together(first: Example, other: Example) -> Example:
    """The first example with the responses of both, each once."""
    return replace(
        first,
        experts=tuple(dict.fromkeys((*first.experts, *other.experts))),
        teachers=tuple(dict.fromkeys((*first.teachers, *other.teachers))),
    )


def subset(examples: Sequence[Example], places: Sequence[int]) -> Sequence[Example]:
    """The examples at these places, in memory or on disk as the others are."""
    if len(places) == len(examples):
        return examples
    if isinstance(examples, StoredExamples):
        return examples.subset(places)
    return tuple(examples[place] for place in places)


def where(examples: Sequence[Example], keep: Callable[[Example], bool]) -> Sequence[Example]:
    """The examples that are to be kept."""
    return subset(examples, array("q", (n for n, e in enumerate(examples) if keep(e))))


class _DiskStore:
    """Lines in a temporary file that is gone when the program ends."""

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="gft-lite-")  # noqa: SIM115
        self._ends = array("q", [0])
        self._lock = threading.Lock()

    def put(self, example: Example) -> int:
        """The number under which the example is found again."""
        turns = [(message.role, message.content) for message in example.prompt]
        parts = (turns, example.experts, example.teachers, example.answer, example.row)
        line = json.dumps(parts, ensure_ascii=False).encode("utf-8")
        self._file.write(line)
        self._ends.append(self._ends[-1] + len(line))
        return len(self._ends) - 2

    def get(self, number: int) -> Example:
        """The example put away under this number."""
        start, end = self._ends[number], self._ends[number + 1]
        with self._lock:
            self._file.seek(start)
            line = self._file.read(end - start)
        turns, experts, teachers, answer, row = json.loads(line)
        prompt = tuple(Message(role, content) for role, content in turns)
        return Example(prompt, tuple(experts), tuple(teachers), answer, row)


class StoredExamples(Sequence[Example]):
    """Examples on disk; `joined` are further rows of a group, by the place of its first."""

    def __init__(
        self, shelf: _DiskStore, places: Sequence[int], joined: Mapping[int, Sequence[int]]
    ) -> None:
        self._shelf, self._places, self._joined = shelf, places, joined

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Example: ...

    @overload
    def __getitem__(self, index: slice) -> StoredExamples: ...

    def __getitem__(self, index: int | slice) -> Example | StoredExamples:
        if isinstance(index, slice):
            return self.subset(range(len(self))[index])
        number = self._places[index]
        example = self._shelf.get(number)
        for other in self._joined.get(number, ()):
            example = together(example, self._shelf.get(other))
        return example

    def subset(self, places: Iterable[int]) -> StoredExamples:
        """Those at these places."""
        chosen = array("q", (self._places[place] for place in places))
        return StoredExamples(self._shelf, chosen, self._joined)


class ExampleBuffer:
    """Examples as they come; moves to disk when they are many."""

    def __init__(self, in_memory_rows: int = IN_MEMORY_ROWS) -> None:
        self._limit = in_memory_rows
        self._memory: list[Example] = []
        self._shelf: _DiskStore | None = None
        self._numbers = array("q")
        self._joined: dict[int, list[int]] = {}

    def __len__(self) -> int:
        return len(self._numbers) if self._shelf else len(self._memory)

    def add(self, example: Example) -> None:
        """Take an example in at the end."""
        if self._shelf is None and len(self._memory) >= self._limit:
            self._shelf = _DiskStore()
            self._numbers.extend(map(self._shelf.put, self._memory))
            self._memory = []
        if self._shelf is None:
            self._memory.append(example)
        else:
            self._numbers.append(self._shelf.put(example))

    def join(self, place: int, other: Example) -> None:
        """Give the example at a place the responses of another row."""
        if self._shelf is None:
            self._memory[place] = together(self._memory[place], other)
        else:
            self._joined.setdefault(self._numbers[place], []).append(self._shelf.put(other))

    def gathered(self) -> Sequence[Example]:
        """All of them."""
        if self._shelf is None:
            return tuple(self._memory)
        return StoredExamples(self._shelf, self._numbers, self._joined)
