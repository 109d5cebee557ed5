"""The scorer: a checked reward, ready to score any number of responses.

Cheap verifiers run here; those that a response can make run for ever go to the scoring process,
together, and only if the quick path has no answer. A pair of response and target that occurs
twice in a call is scored once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from gft_lite.rewards.base import ERROR, Need, Target
from gft_lite.rewards.failure import Failure, explain
from gft_lite.rewards.process import Job, Outcome, ScoringProcess
from gft_lite.rewards.spec import Part
from gft_lite.types import RewardError, Score, Verdict

# The verdict of a sum is the worst of its parts.
_WORST: tuple[Verdict, ...] = ("error", "timeout", "unparsed", "ok")


@dataclass(frozen=True)
class Counts:
    """How many responses were scored, and how many of them the checker could not judge."""

    scored: int = 0
    unparsed: int = 0
    timeouts: int = 0
    errors: int = 0


class Scorer:
    """Scores responses with the given parts; use it as a context manager, or call `close`.

    `failures` has the first failure of every part, by its label; `on_failure`, if set, is called
    with each of them when it happens.
    """

    def __init__(self, parts: Sequence[Part], timeout_seconds: float) -> None:
        self.parts = tuple(parts)
        self.timeout_seconds = timeout_seconds
        self.failures: dict[str, Failure] = {}
        self.on_failure: Callable[[Failure], None] | None = None
        self._counts = {"ok": 0, "unparsed": 0, "timeout": 0, "error": 0}
        self._in_process = [
            part for part in self.parts if part.reward is None or part.reward.isolated
        ]
        self._process = ScoringProcess(
            [
                {"name": part.name, "options": dict(part.options)}
                if part.reward
                else {"file": part.file, "options": dict(part.options)}
                for part in self._in_process
            ],
            timeout_seconds,
        )

    @property
    def needs(self) -> frozenset[str]:
        """The fields every example must have: a subset of {"answer", "expert"}."""
        return frozenset(part.needs for part in self.parts if part.needs is not None)

    @property
    def counts(self) -> Counts:
        """Totals since the scorer was built."""
        counts = self._counts
        total = sum(counts.values())
        return Counts(total, counts["unparsed"], counts["timeout"], counts["error"])

    def check(self, target: Target, where: str = "this row") -> None:
        """Raise RewardError, naming the field, if an example cannot be scored."""
        for part in self.parts:
            need = part.needs
            if not _has(target, need):
                fix = f"name its column with --map {need}=COLUMN"
                raise RewardError(
                    f"{where}: reward {part.label!r} needs the field {need!r}, which is missing or "
                    f"empty; {fix}, drop the row, or choose another reward"
                )
            complain = part.reward.complain if part.reward else None
            complaint = complain(target, part.options) if complain else None
            if complaint:
                raise RewardError(f"{where}: reward {part.label!r} cannot use it: {complaint}")

    def warm_up(self) -> None:
        """Start the scoring process now if a custom file needs it. Raises RewardError."""
        if any(part.reward is None for part in self.parts):
            self._process.start()

    def score(self, items: Sequence[tuple[str, Target]]) -> list[Score]:
        """One score for each (response, target), in order."""
        unique = list(dict.fromkeys(items))
        outcomes: dict[tuple[int, int], Outcome] = {}
        jobs: list[Job] = []
        places: list[tuple[int, int]] = []
        for index, (response, target) in enumerate(unique):
            for position, part in enumerate(self.parts):
                outcome = _outcome_here(part, response, target)
                if outcome is not None:
                    outcomes[index, position] = outcome
                else:
                    jobs.append(Job(self._in_process.index(part), response, target))
                    places.append((index, position))
        if jobs:
            outcomes.update(zip(places, self._process.run(jobs), strict=True))
        scores = {
            item: self._combined([outcomes[index, place] for place in range(len(self.parts))])
            for index, item in enumerate(unique)
        }
        ordered = [scores[item] for item in items]
        for score in ordered:
            self._counts[score.verdict] += 1
        return ordered

    def require_some(self, scores: Sequence[Score]) -> None:
        """Refuse scores if none of them could be computed.

        Raises:
            RewardError: the reward broke or took too long on every one of these responses.
        """
        timeouts = sum(score.verdict == "timeout" for score in scores)
        errors = sum(score.verdict == "error" for score in scores)
        if not scores or timeouts + errors < len(scores):
            return
        reasons = [f"{f.part}: {f.message}" for f in self.failures.values() if errors]
        if timeouts:
            reasons.append(f"{timeouts:,} took longer than {self.timeout_seconds:g} s")
        raise RewardError(
            f"the reward failed on all of {len(scores):,} responses, so nothing can be learned or "
            f"measured with it ({'; '.join(reasons)}). Correct the reward, and try it on your data "
            "with `gft-lite data dry-run FILE --reward …`"
        )

    def _combined(self, outcomes: Sequence[Outcome]) -> Score:
        for outcome, part in zip(outcomes, self.parts, strict=True):
            if outcome.score.verdict == "error" and part.label not in self.failures:
                message = outcome.error or "the row's reference cannot be used"
                failure = Failure(part.label, message, outcome.details)
                self.failures[part.label] = failure
                if self.on_failure:
                    self.on_failure(failure)
        if len(outcomes) == 1:
            return outcomes[0].score
        return weighted(self.parts, [outcome.score for outcome in outcomes])

    def close(self) -> None:
        """End the scoring process. The scorer may be used again; it then starts a new one."""
        self._process.kill()

    def __enter__(self) -> Scorer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def weighted(parts: Sequence[Part], scores: Sequence[Score]) -> Score:
    """Σ weight·value / Σ weight, with every part's value under its label (`json.keys` inside)."""
    total = math.fsum(part.weight for part in parts)
    pairs = list(zip(parts, scores, strict=True))
    value = math.fsum(part.weight * score.value for part, score in pairs) / total
    named: dict[str, float] = {part.label: score.value for part, score in pairs}
    for part, score in pairs:
        named.update({f"{part.label}.{name}": inner for name, inner in score.parts.items()})
    verdicts = {score.verdict for score in scores}
    verdict = next(kind for kind in _WORST if kind in verdicts)
    return Score(min(1.0, max(0.0, value)), verdict, named)


def _outcome_here(part: Part, response: str, target: Target) -> Outcome | None:
    """The part's outcome if it can be computed in this process, else None."""
    reward = part.reward
    if reward is None:
        return None
    verifier = reward.quick if reward.isolated else reward.score
    if verifier is None:
        return None
    try:
        score = verifier(response, target, **part.options)
    except Exception as fault:  # the boundary: recorded and counted, the run goes on
        return Outcome(ERROR, *explain(fault))
    return None if score is None else Outcome(score)


def _has(target: Target, need: Need) -> bool:
    if need == "answer":
        return bool(target.answer and target.answer.strip())
    return need is None or any(expert.strip() for expert in target.experts)
