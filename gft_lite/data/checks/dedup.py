"""Repeated prompts: equal, equal but for spelling, with another answer, or nearly equal."""

from __future__ import annotations

from array import array

from gft_lite.data.checks.minhash import Sketches
from gft_lite.data.checks.warnings import Findings
from gft_lite.data.load import group_key
from gft_lite.types import Example


def normalized_prompt(example: Example) -> str:
    """The prompt without differences of case and white space."""
    return " ".join("\n".join(m.content for m in example.prompt).casefold().split())


class HeldOut:
    """The prompts of a held-out file, to find leaks."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.rows: dict[int, int] = {}
        self.sketches = Sketches()

    def add(self, example: Example) -> None:
        """Add a held-out example."""
        text = normalized_prompt(example)
        self.rows.setdefault(hash(text), example.row)
        self.sketches.add(example.row, text)


class RepeatedPrompts:
    """Finds prompts of earlier rows. Keeps hashes and signatures, no texts.

    Attributes:
        repeated: rows whose prompt an earlier row has.
        groups: distinct pairs of prompt and answer, which is the number of examples of the file.
    """

    def __init__(self, findings: Findings, held_out: HeldOut | None) -> None:
        self.repeated = self.groups = 0
        self._findings, self._held_out = findings, held_out
        self._positions: dict[int, int] = {}
        self._rows, self._prompts = array("q"), array("q")
        self._groups, self._wholes = array("q"), array("q")
        self._other_groups: set[int] = set()
        self._leaked: set[int] = set()
        self._sketches = Sketches()

    def add(self, example: Example) -> None:
        """Compare an example with the earlier ones."""
        text = normalized_prompt(example)
        name, prompt, group = hash(text), hash(example.prompt), group_key(example)
        whole = hash((group, example.experts, example.teachers))
        if self._held_out and (row := self._held_out.rows.get(name)) is not None:
            self._findings.add("leak", example.row, f"row {row} of {self._held_out.path}")
            self._leaked.add(example.row)
        position = self._positions.setdefault(name, len(self._rows))
        if position == len(self._rows):
            self._rows.append(example.row)
            self._prompts.append(prompt)
            self._groups.append(group)
            self._wholes.append(whole)
            self._sketches.add(example.row, text)
            self.groups += 1
            return
        detail = f"as row {self._rows[position]}"
        self.repeated += self._prompts[position] == prompt or group in self._other_groups
        if self._wholes[position] == whole:
            self._findings.add("duplicate", example.row, detail)
        elif self._prompts[position] != prompt:
            self._findings.add("spelled alike", example.row, detail)
        elif self._groups[position] != group:
            self._findings.add("conflict", example.row, detail)
        if self._groups[position] != group and group not in self._other_groups:
            self._other_groups.add(group)
            self.groups += 1

    def finish(self) -> None:
        """Report nearly equal prompts; call once, after the last example."""
        for pair in self._sketches.near():
            detail = f"{pair.similarity:.0%} like row {pair.earlier}"
            self._findings.add("near", pair.row, detail)
        if self._held_out:
            for pair in self._sketches.near(self._held_out.sketches):
                if pair.row not in self._leaked:
                    detail = f"{pair.similarity:.0%} like row {pair.earlier} there"
                    self._findings.add("near leak", pair.row, detail)
