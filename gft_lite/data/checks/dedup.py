"""Prompts that come again: in the same words, spelled alike, with another answer, or nearly."""

from __future__ import annotations

from array import array

from gft_lite.data.checks.minhash import Sketches
from gft_lite.data.checks.warnings import Findings
from gft_lite.data.load import group_key
from gft_lite.types import Example


def spelled(example: Example) -> str:
    """The prompt without regard to case and spaces."""
    return " ".join("\n".join(m.content for m in example.prompt).casefold().split())


class HeldOut:
    """The prompts of a held-out file, to find leaks from it."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.rows: dict[int, int] = {}
        self.sketches = Sketches()

    def add(self, example: Example) -> None:
        """Take a held-out example in."""
        text = spelled(example)
        self.rows.setdefault(hash(text), example.row)
        self.sketches.add(example.row, text)


class Repeats:
    """Finds prompts that came before; keeps hashes and signatures, never texts.

    `repeated` counts rows whose prompt an earlier row has; `groups` distinct pairs of prompt and
    answer, which is how many examples the file makes.
    """

    def __init__(self, findings: Findings, held_out: HeldOut | None) -> None:
        self.repeated = self.groups = 0
        self._findings, self._held_out = findings, held_out
        self._places: dict[int, int] = {}
        self._rows, self._prompts = array("q"), array("q")
        self._groups, self._wholes = array("q"), array("q")
        self._further: set[int] = set()
        self._leaked: set[int] = set()
        self._sketches = Sketches()

    def see(self, example: Example) -> None:
        """Compare one example with those before it."""
        text = spelled(example)
        name, prompt, group = hash(text), hash(example.prompt), group_key(example)
        whole = hash((group, example.experts, example.teachers))
        if self._held_out and (row := self._held_out.rows.get(name)) is not None:
            self._findings.add("leak", example.row, f"row {row} of {self._held_out.path}")
            self._leaked.add(example.row)
        place = self._places.setdefault(name, len(self._rows))
        if place == len(self._rows):
            self._rows.append(example.row)
            self._prompts.append(prompt)
            self._groups.append(group)
            self._wholes.append(whole)
            self._sketches.add(example.row, text)
            self.groups += 1
            return
        like = f"as row {self._rows[place]}"
        self.repeated += self._prompts[place] == prompt or group in self._further
        if self._wholes[place] == whole:
            self._findings.add("duplicate", example.row, like)
        elif self._prompts[place] != prompt:
            self._findings.add("spelled alike", example.row, like)
        elif self._groups[place] != group:
            self._findings.add("conflict", example.row, like)
        if self._groups[place] != group and group not in self._further:
            self._further.add(group)
            self.groups += 1

    def finish(self) -> None:
        """Compare what is nearly the same; once, at the end."""
        for pair in self._sketches.near():
            detail = f"{pair.similarity:.0%} like row {pair.earlier}"
            self._findings.add("near", pair.row, detail)
        if self._held_out:
            for pair in self._sketches.near(self._held_out.sketches):
                if pair.row not in self._leaked:
                    detail = f"{pair.similarity:.0%} like row {pair.earlier} there"
                    self._findings.add("near leak", pair.row, detail)
