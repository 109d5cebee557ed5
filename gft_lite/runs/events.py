"""Every event that a run writes to `events.jsonl`: one frozen dataclass per event.

`docs/events.md` is generated from this module by `scripts/events_reference.py`: the docstring below
a field is its documentation, with the unit. An event is recorded with `EventLog.record` and read
with `RunDir.read`. A field whose value is None is not written. Every field has a default, and
unknown fields are ignored, so runs of other versions can be read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Self

ENVELOPE = {  # name → (type, meaning); not fields of the classes
    "type": ("text", "Name of the event."),
    "time": ("number", "Time of writing, in seconds since 1970. Only in the file."),
    "stage": (
        "integer",
        "Number of the stage, from 1. Only in the events of a pipeline: its steps continue over "
        "its stages, and the `finished` event of a stage has the type `stage_finished`.",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all events. `type` is the name of the event in the file."""

    type: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """The event as it is written, without the fields that are None."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return {"type": self.type, **values}

    @classmethod
    def from_dict(cls, line: Mapping[str, Any]) -> Self:
        """The event of one line. A number that is missing, or is no number, becomes its default."""
        values = {}
        for known in fields(cls):
            value = line.get(known.name)
            numeric = str(known.type).startswith(("int", "float"))
            if value is not None and (_is_number(value) or not numeric):
                values[known.name] = value
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class StartedEvent(Event):
    """The model is loaded and training begins, or continues after `gft-lite resume`."""

    type = "started"

    step: int = 0
    """Always 0, so that a resumed run keeps the event."""
    resumed: bool = False
    """Whether the run continues from a checkpoint."""
    examples: int = 0
    """Training examples."""
    examples_left_out: int = 0
    """Training examples without any response that the method trains on."""
    bad_rows_dropped: int = 0
    """Rows of all data files that `data.skip_bad_rows` dropped."""
    bad_rows: list[str] = field(default_factory=list)
    """One sentence per dropped row, at most 1,000."""
    trainable_parameters: int = 0
    """Parameters of the adapter."""
    backend: str = ""
    """Backend in use: hf or unsloth."""
    backend_reason: str = ""
    """Why this backend was selected."""
    device: str = ""
    """torch device of the model."""
    dtype: str = ""
    """Data type of the computation."""
    gft_lite: str = ""
    """Version of gft-lite."""
    python: str = ""
    """Version of Python."""
    forecast: dict[str, Any] | None = None
    """Memory forecast, in GiB (`gft-lite estimate`); absent if the model's shape is unknown."""
    versions: dict[str, str] = field(default_factory=dict)
    """Versions of the installed libraries."""


@dataclass(frozen=True, kw_only=True)
class DryStepEvent(Event):
    """The largest possible micro-batch went through forward and backward (`train.dry_step`)."""

    type = "dry_step"

    step: int = 0
    """Optimizer steps taken."""
    longest_tokens: int = 0
    """Tokens of each sequence, prompt included."""
    seconds: float = 0.0
    """Duration in seconds."""
    peak_memory_gib: float = 0.0
    """Peak memory so far, in GiB."""
    rollout_batch: int = 0
    """Responses sampled at once."""
    micro_batch_tokens: int = 0
    """Most tokens of a micro-batch, padding included."""


@dataclass(frozen=True, kw_only=True)
class StepEvent(Event):
    """One optimizer step.

    Rewards, advantages, lengths and verdicts are those of all responses of the step. Entropy, KL
    and rectified fractions are means over trained tokens: a response with advantage 0 is not run
    through the model, unless the method has a KL term. Counts and seconds of a rollout that serves
    several steps are in its first step.
    """

    type = "step"

    step: int = 0
    """Number of the step, from 1."""
    steps: int = 0
    """Planned steps (`train.steps`)."""
    loss: float = 0.0
    """Loss of the step: sum over response tokens, divided by their count."""
    reward_expert: float | None = None
    """Mean reward of the expert responses."""
    reward_teacher: float | None = None
    """Mean reward of the teacher responses."""
    reward_self: float | None = None
    """Mean reward of the self responses."""
    advantage_spread: float | None = None
    """Standard deviation of the advantages of a group, mean over groups."""
    truncated: float | None = None
    """Self responses that reached `group.max_new_tokens` (count)."""
    self_response_tokens: float | None = None
    """Mean length of the self responses, in tokens."""
    unparsed: float | None = None
    """Responses that the reward could not parse (count)."""
    timeouts: float | None = None
    """Responses whose scoring exceeded the time limit (count)."""
    reward_errors: float | None = None
    """Responses on which the reward failed (count)."""
    longest_demonstration_tokens: float | None = None
    """Length of the longest demonstration, in tokens."""
    entropy_nats_per_token: float | None = None
    """Entropy of the policy on self responses, in nats per token."""
    kl_nats_per_token: float | None = None
    """KL divergence to the reference policy on self responses, in nats per token."""
    kl_nats_per_sequence: float | None = None
    """KL divergence to the reference policy, in nats per self response."""
    rectified_fraction: float | None = None
    """Fraction of the tokens whose probability is below `method.tau`, in [0, 1]."""
    rectified_fraction_expert: float | None = None
    """The same fraction for expert responses."""
    rectified_fraction_teacher: float | None = None
    """The same fraction for teacher responses."""
    rectified_fraction_self: float | None = None
    """The same fraction for self responses."""
    rectified_fraction_positive: float | None = None
    """The same fraction for responses with a positive advantage."""
    rectified_fraction_negative: float | None = None
    """The same fraction for responses with a negative advantage."""
    response_tokens: float = 0
    """Response tokens of the step: the divisor of the loss (count)."""
    trained_tokens: float = 0
    """Response tokens that were run through the model (count)."""
    trained_responses: float = 0
    """Responses that were run through the model (count)."""
    grad_norm: float = 0.0
    """L2 norm of the gradient before clipping; 0 if the update was skipped."""
    skipped_update: float = 0
    """1 if the step changed nothing: no response to train on, or a gradient that is not finite."""
    groups: float = 0
    """Groups of the step (count)."""
    degenerate_groups: float = 0
    """Groups of the rollout with equal rewards (count)."""
    resampled_groups: float = 0
    """Groups of the rollout that were sampled again (count)."""
    imitated_groups: float = 0
    """Degenerate groups of the rollout in which the expert was imitated (count)."""
    rejected_experts: float = 0
    """Degenerate groups of the rollout whose expert earned no reward (count)."""
    demonstrations_too_long: float = 0
    """Demonstrations left out because they exceed `group.max_new_tokens` (count)."""
    rollout_seconds: float = 0.0
    """Duration of sampling, in seconds."""
    scoring_seconds: float = 0.0
    """Duration of scoring, in seconds."""
    learning_rate: float = 0.0
    """Learning rate of the step."""
    train_seconds: float = 0.0
    """Duration of the update, in seconds."""
    seconds: float = 0.0
    """Duration of the whole step, in seconds."""
    tokens_per_second: float = 0.0
    """Response tokens per second of the whole step."""
    peak_memory_gib: float = 0.0
    """Peak memory of the run so far, in GiB: allocated on a GPU, resident on a CPU."""


@dataclass(frozen=True, kw_only=True)
class EvalEvent(Event):
    """An evaluation on the held-out set and, if the run has one, on the retention set."""

    type = "eval"

    step: int = 0
    """Optimizer steps taken."""
    adapter_step: int | None = None
    """Step of the evaluated adapter. Only in the final evaluation."""
    final: bool | None = None
    """True for the evaluation at the end of the run, otherwise absent."""
    target: dict[str, Any] | None = None
    """Held-out set: accuracies in [0, 1], lengths in tokens, counts."""
    entropy_nats_per_token: float | None = None
    """Entropy of self responses to held-out prompts, in nats per token."""
    old_skill: dict[str, Any] | None = None
    """The same measurements as `target`, for the retention set."""
    drift: dict[str, Any] | None = None
    """KL divergence to the base model on its own responses: nats per token and per sequence, and
    the number of sequences. Only in the final evaluation."""


@dataclass(frozen=True, kw_only=True)
class BestEvent(Event):
    """The step has the best held-out accuracy so far, and its checkpoint is kept."""

    type = "best"

    step: int = 0
    """Optimizer steps taken."""
    greedy_accuracy: float | None = None
    """Greedy accuracy on the held-out set, in [0, 1]."""


@dataclass(frozen=True, kw_only=True)
class CheckpointEvent(Event):
    """A checkpoint was written."""

    type = "checkpoint"

    step: int = 0
    """Optimizer steps taken."""
    path: str = ""
    """Name of the folder below `checkpoints/`."""


@dataclass(frozen=True, kw_only=True)
class CheckpointSkippedEvent(Event):
    """A resumed run found a damaged or missing checkpoint, and continued from an older one."""

    type = "checkpoint_skipped"

    step: int = 0
    """Step that the run continues from."""
    path: str = ""
    """Name of the folder that was not used."""
    message: str = ""
    """The reason, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class OutOfMemoryEvent(Event):
    """Memory ran out; the step is repeated with a smaller batch."""

    type = "out_of_memory"

    step: int = 0
    """Number of the step that is repeated, from 1."""
    phase: str = ""
    """Phase of the step: rollout or training."""
    setting: str = ""
    """Setting that changed."""
    before: int = 0
    """Its value before: responses for a rollout, tokens for training."""
    after: int = 0
    """Its value now."""
    message: str = ""
    """The same, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class RewardErrorEvent(Event):
    """The first failure of a part of the reward; the response gets no reward."""

    type = "reward_error"

    step: int = 0
    """Number of the step, from 1."""
    part: str = ""
    """Part of the reward that failed."""
    message: str = ""
    """Its error, in a sentence."""
    traceback: str = ""
    """Its traceback."""


@dataclass(frozen=True, kw_only=True)
class RunawayEvent(Event):
    """A sign that self responses turn into noise (`training/runaway.py` has the rule)."""

    type = "runaway"

    step: int = 0
    """Number of the step that shows the sign, from 1."""
    sign: str = ""
    """The sign: entropy or length."""
    early: float = 0.0
    """Median of the first steps: nats per token for entropy, tokens for length."""
    current: float = 0.0
    """Mean of the last steps, in the same unit."""
    limit: float = 0.0
    """Value that the current level exceeds, in the same unit."""
    message: str = ""
    """The sign and what to change, in words."""


@dataclass(frozen=True, kw_only=True)
class InputsAcceptedEvent(Event):
    """A run was continued although its inputs changed (`gft-lite resume --accept-changes`)."""

    type = "inputs_accepted"

    step: int = 0
    """Step that the run continues from; 0 for a pipeline."""
    changes: list[str] = field(default_factory=list)
    """The changes, a few words each."""
    message: str = ""
    """All changes, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class InputsUnknownEvent(Event):
    """A run was continued that has no record of its inputs, so no change can be detected."""

    type = "inputs_unknown"

    step: int = 0
    """Step that the run continues from."""
    message: str = ""
    """The reason, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentChangedEvent(Event):
    """A run was continued with another device, data type, backend or library version."""

    type = "environment_changed"

    step: int = 0
    """Step that the run continues from."""
    message: str = ""
    """The changes, in a sentence."""


@dataclass(frozen=True, kw_only=True)
class StoppedEvent(Event):
    """The user ended the run early; `gft-lite resume` continues it."""

    type = "stopped"

    step: int = 0
    """Optimizer steps taken."""


@dataclass(frozen=True, kw_only=True)
class FinishedEvent(Event):
    """The last event of a run that was not broken off by an error."""

    type = "finished"

    state: str = ""
    """State of the run: finished or stopped."""
    reason: str | None = None
    """Why the run ended: steps, max_tokens, runaway or stopped; absent in a pipeline."""
    step: int = 0
    """Optimizer steps taken."""
    adapter_step: int | None = None
    """Step of the run's adapter; absent in a pipeline."""
    seconds: float = 0.0
    """Duration since the run was started or resumed, in seconds."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """The final evaluation, as in `eval`; empty if there was none."""


@dataclass(frozen=True, kw_only=True)
class FailedEvent(Event):
    """An error ended the run; `log.txt` has its traceback."""

    type = "failed"

    message: str = ""
    """The error, in a sentence."""


EVENTS: dict[str, type[Event]] = {
    event.type: event
    for event in (
        StartedEvent,
        DryStepEvent,
        StepEvent,
        EvalEvent,
        BestEvent,
        CheckpointEvent,
        CheckpointSkippedEvent,
        OutOfMemoryEvent,
        RewardErrorEvent,
        RunawayEvent,
        InputsAcceptedEvent,
        InputsUnknownEvent,
        EnvironmentChangedEvent,
        StoppedEvent,
        FinishedEvent,
        FailedEvent,
    )
}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
