"""Every row format, in the order that breaks ties of the detection.

To add a format, write a function that reads a row in `pairs` or `conversations`, and add an entry
here. The function returns an Example without a row number, or raises RowError; it never drops
anything silently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from gft_lite.data.formats import conversations, pairs
from gft_lite.data.rows import Fields, Record
from gft_lite.types import Example


@dataclass(frozen=True)
class Format:
    """One row format.

    Attributes:
        meaning: which columns become which fields, in words.
        needs: required columns; each is a tuple of names of which one must exist.
        read: converts a row.
        uses: optional columns.
        fits: whether the values of a row look like this format.
        evidence: what `fits` looks for, in words.
        strict: the format is possible only if at least half of the rows fit.
        bare: a prompt alone is an example.
        assemble: combines rows into records, if one row is not an example by itself.
    """

    meaning: str
    needs: tuple[tuple[str, ...], ...]
    read: Callable[[Fields], Example]
    uses: tuple[str, ...] = ()
    fits: Callable[[Fields], bool] = lambda row: True
    evidence: str = "values in these columns"
    strict: bool = False
    bare: bool = False
    assemble: Callable[[Iterable[Record]], Iterator[Record]] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that the format reads."""
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
        read=conversations.preference,
        uses=("prompt", "question", "instruction", "system", "answer"),
    ),
    "messages": Format(
        "the assistant's last turn → expert, all turns before → prompt",
        needs=(("messages",),),
        read=conversations.openai_messages,
        uses=("system", "answer"),
        fits=lambda row: conversations.has_turns(row, ("messages",)),
        evidence="turns in 'messages'",
    ),
    "sharegpt": Format(
        "the assistant's last turn → expert, all turns before → prompt",
        needs=(("conversations", "conversation"),),
        read=conversations.sharegpt,
        uses=("system", "answer"),
        fits=lambda row: conversations.has_turns(row, ("conversations", "conversation")),
        evidence="turns in the conversation",
    ),
    "alpaca": Format(
        "instruction and input → prompt, output → expert",
        needs=(("instruction",), ("output", "response")),
        read=pairs.alpaca,
        uses=("input", "context", "system", "answer", *pairs.TEACHERS),
    ),
    "gsm8k": Format(
        "question → prompt, answer without <<…>> → expert (none if nothing stands before ####), "
        "what follows #### → answer",
        needs=(("question",), ("answer",)),
        read=pairs.gsm8k,
        uses=pairs.TEACHERS,
        fits=pairs.has_final_mark,
        evidence="'####' in 'answer'",
    ),
    "solution": Format(
        "solution → expert, 'answer' or the last \\boxed{} of the solution → answer",
        needs=(("problem", "question", "prompt"), ("solution",)),
        read=pairs.solution,
        uses=("answer", "system", *pairs.TEACHERS),
    ),
    "prompt-completion": Format(
        "completion → expert",
        needs=(pairs.PROMPTS, pairs.COMPLETIONS),
        read=pairs.completion,
        uses=("system", "answer", *pairs.TEACHERS),
    ),
    "question-answer": Format(
        "the short answer → answer; no expert",
        needs=(pairs.PROMPTS, ("answer", *pairs.REFERENCES)),
        read=pairs.question_answer,
        uses=("system", *pairs.TEACHERS),
        fits=pairs.has_short_answer,
        evidence="short answers",
    ),
    "question-prose": Format(
        "the long answer → expert, its last \\boxed{}, if any → answer",
        needs=(pairs.PROMPTS, ("answer",)),
        read=pairs.question_prose,
        uses=("system", *pairs.REFERENCES, *pairs.TEACHERS),
        fits=pairs.has_long_answer,
        evidence="answers of several words or lines",
    ),
    "oasst": Format(
        "each answered message of the prompter → prompt with all turns before it, its best-ranked "
        "reply → expert, the other replies → teachers",
        needs=conversations.TREE_COLUMNS,
        read=pairs.canonical,
        uses=("rank", "deleted"),
        assemble=conversations.prompts_of_trees,
    ),
    "text": Format(
        "the last turn written out in 'text' → expert, the turns before → prompt",
        needs=(("text",),),
        read=conversations.marked_text,
        uses=("system", "answer"),
        fits=conversations.has_markers,
        evidence="marks of turns in 'text'",
        strict=True,
    ),
    "prompt-only": Format(
        "a prompt alone: for rewards that need no answer, and to be given responses by "
        "`gft-lite data distill`",
        needs=((*pairs.PROMPTS, "instruction"),),
        read=pairs.prompt_only,
        uses=("system",),
        fits=pairs.has_only_prompt,
        evidence="nothing beside the prompt but what describes it",
        strict=True,
        bare=True,
    ),
}
