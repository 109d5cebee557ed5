"""Every row format that is recognised, in the order that breaks ties.

A format says which columns it needs (each need is a tuple of names, one of which must be there),
which others it uses, what its values look like, and how a row becomes an Example. To add one, write
`read` beside its kin and add an entry here.

`read` returns an Example without row number or raises RowError; it never drops anything silently.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gft_lite.data import format_chats as chats
from gft_lite.data import format_pairs as pairs
from gft_lite.data.rows import Fields
from gft_lite.types import Example


@dataclass(frozen=True)
class Format:
    """A convention: its columns, its reader, how its values look (`fits`; in words `evidence`)."""

    meaning: str
    needs: tuple[tuple[str, ...], ...]
    read: Callable[[Fields], Example]
    uses: tuple[str, ...] = ()
    fits: Callable[[Fields], bool] = lambda row: True
    evidence: str = "values in these columns"

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that it reads."""
        needed = (name for names in self.needs for name in names)
        return tuple(dict.fromkeys((*needed, *self.uses)))


FORMATS: dict[str, Format] = {
    "gft-official": Format(
        "extra_info.answer → expert, extra_info.model_answer → teachers, "
        "reward_model.ground_truth → answer",
        needs=(("prompt",), ("reward_model",)),
        read=pairs.official_gft,
        uses=("extra_info", "ability", "data_source"),
        fits=pairs.has_reward_record,
        evidence="turns in 'prompt' and an object in 'reward_model'",
    ),
    "canonical": Format(
        "prompt, expert, teachers, answer as they stand",
        needs=(("prompt",), ("expert", "teachers", "answer")),
        read=pairs.canonical,
        uses=("system",),
    ),
    "preference": Format(
        "chosen → expert, rejected → teacher (it must earn its reward)",
        needs=(("chosen",), ("rejected",)),
        read=chats.preference,
        uses=("prompt", "question", "instruction", "system", "answer"),
    ),
    "messages": Format(
        "the assistant's last turn → expert, all turns before → prompt",
        needs=(("messages",),),
        read=chats.openai_messages,
        uses=("system", "answer"),
        fits=lambda row: chats.has_turns(row, ("messages",)),
        evidence="turns in 'messages'",
    ),
    "sharegpt": Format(
        "the assistant's last turn → expert, all turns before → prompt",
        needs=(("conversations", "conversation"),),
        read=chats.sharegpt,
        uses=("system", "answer"),
        fits=lambda row: chats.has_turns(row, ("conversations", "conversation")),
        evidence="turns in the conversation",
    ),
    "alpaca": Format(
        "instruction and input → prompt, output → expert",
        needs=(("instruction",), ("output", "response")),
        read=pairs.alpaca,
        uses=("input", "context", "system", "answer"),
    ),
    "gsm8k": Format(
        "question → prompt, answer without <<…>> → expert, what follows #### → answer",
        needs=(("question",), ("answer",)),
        read=pairs.gsm8k,
        fits=pairs.has_final_mark,
        evidence="'####' in 'answer'",
    ),
    "solution": Format(
        "solution → expert, 'answer' or the last \\boxed{} of the solution → answer",
        needs=(("problem", "question", "prompt"), ("solution",)),
        read=pairs.solution,
        uses=("answer", "system"),
    ),
    "prompt-completion": Format(
        "completion → expert",
        needs=(pairs.PROMPTS, pairs.COMPLETIONS),
        read=pairs.completion,
        uses=("system", "answer"),
    ),
    "question-answer": Format(
        "the short answer → answer; no expert",
        needs=(pairs.PROMPTS, ("answer", *pairs.REFERENCES)),
        read=pairs.question_answer,
        uses=("system",),
        fits=pairs.has_short_answer,
        evidence="short answers",
    ),
    "question-prose": Format(
        "the long answer → expert, its last \\boxed{}, if any → answer",
        needs=(pairs.PROMPTS, ("answer",)),
        read=pairs.question_prose,
        uses=("system", *pairs.REFERENCES),
        fits=pairs.has_long_answer,
        evidence="answers of several words or lines",
    ),
}
