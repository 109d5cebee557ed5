"""Formats whose row is a prompt and its responses in columns, and the published GFT rows."""

from __future__ import annotations

import re

from gft_lite.data.formats.cells import (
    answer,
    boxed,
    checked,
    first_present,
    is_turns,
    listed_texts,
    optional_text,
    prompt,
    record,
    text,
    texts,
    turns,
)
from gft_lite.data.rows import Fields, RowError
from gft_lite.types import Example, Message

PROMPTS = ("prompt", "question", "problem", "query")
COMPLETIONS = ("completion", "response", "completions", "responses")
TEACHERS = ("teachers", "generations")
REFERENCES = ("ground_truth", "final_answer")
SHORT_ANSWER_CHARACTERS = 64
ANSWERING = (
    *("expert", "answer", "output", "solution", "chosen", "rejected"),
    *(*COMPLETIONS, *TEACHERS, *REFERENCES),
)
DESCRIPTIONS = (
    *("id", "uuid", "index", "source", "data_source", "dataset", "category", "type", "task"),
    *("level", "difficulty", "subject", "topic", "ability", "split", "url", "language", "lang"),
    *("license", "tags", "tools", "extra_info"),
)

CALCULATOR = re.compile(r"<<[^\n]*?>>")


def system_turns(row: Fields) -> tuple[Message, ...]:
    """The `system` column as a turn; empty if it is absent or blank."""
    system = optional_text(row, "system")
    return (Message("system", system),) if system else ()


def with_system(row: Fields, messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The messages after the `system` column, unless they have a system turn."""
    own = any(message.role == "system" for message in messages)
    return messages if own else system_turns(row) + messages


def last_reply(row: Fields, column: str) -> tuple[tuple[Message, ...], str]:
    """(turns before it, its text) of a completion, which is text or turns."""
    if not is_turns(row.get(column)):
        return (), text(row, column)
    messages = turns(row, column)
    if not messages or messages[-1].role != "assistant":
        raise RowError(column, "does not end with a turn of the assistant", row.get(column))
    return messages[:-1], messages[-1].content


def replies(row: Fields, column: str) -> tuple[tuple[Message, ...], tuple[str, ...]]:
    """As `last_reply`, for one completion or a list of them."""
    value = row.get(column)
    if isinstance(value, (list, tuple)) and value and not is_turns(value):
        return (), texts(row, column)
    before, reply = last_reply(row, column)
    return before, (reply,)


def teachers(row: Fields) -> tuple[str, ...]:
    """Further responses of a row, which must earn their reward."""
    return listed_texts(row, first_present(row, TEACHERS))


def canonical(row: Fields) -> Example:
    """prompt, and any of expert, teachers, answer and system."""
    return Example(
        prompt=with_system(row, prompt(row, "prompt")),
        experts=texts(row, "expert"),
        teachers=listed_texts(row, "teachers"),
        answer=answer(row, "answer"),
    )


def official_gft(row: Fields) -> Example:
    """The published GFT rows: teachers in extra_info.model_answer (arXiv 2604.14258, its code)."""
    extra, reward = record(row, "extra_info"), record(row, "reward_model")
    try:
        expert, teachers = texts(extra, "answer"), listed_texts(extra, "model_answer")
    except RowError as error:
        raise RowError("extra_info", f"{error.column}: {error.reason}", extra) from None
    try:
        reference = answer(reward, "ground_truth")
    except RowError as error:
        raise RowError("reward_model", f"ground_truth: {error.reason}", reward) from None
    if reference is None:
        raise RowError("reward_model", "has no ground_truth", reward)
    return Example(with_system(row, prompt(row, "prompt")), expert, teachers, reference)


def gsm8k(row: Fields) -> Example:
    """question, and an answer that ends in `#### number`.

    The expert is the answer without its calculator annotations (`<<48/2=24>>`), which a model is
    not meant to write. The final answer is the text after the last `####` without commas. A row
    with nothing before `####` has no worked solution, hence an answer but no expert.
    """
    worked = CALCULATOR.sub("", text(row, "answer"))
    head, mark, final = worked.rpartition("####")
    if not mark:
        raise RowError("answer", "has no '####' before its final answer", worked[-40:])
    final = final.strip().split("\n")[0].replace(",", "").strip()
    if not final:
        raise RowError("answer", "has nothing after '####'", worked)
    experts = (worked,) if head.strip() else ()
    return Example(prompt(row, "question"), experts, teachers(row), final)


def solution(row: Fields) -> Example:
    r"""problem and solution: the solution is the expert, its \boxed{} (or `answer`) the answer."""
    worked = text(row, "solution")
    column = first_present(row, ("problem", "question", "prompt"))
    return Example(
        prompt=with_system(row, prompt(row, column)),
        experts=(worked,),
        teachers=teachers(row),
        answer=answer(row, "answer") or boxed(worked),
    )


def completion(row: Fields) -> Example:
    """A prompt and its completions, as text or as turns; `answer` is optional."""
    before, experts = replies(row, first_present(row, COMPLETIONS))
    messages = with_system(row, prompt(row, first_present(row, PROMPTS)) + before)
    return Example(messages, experts, teachers(row), answer(row, "answer"))


def alpaca(row: Fields) -> Example:
    """instruction, an optional input (Dolly: context) after a blank line, and output (response)."""
    instruction = text(row, "instruction")
    context = optional_text(row, first_present(row, ("input", "context")))
    question = Message("user", f"{instruction}\n\n{context}" if context else instruction)
    _, experts = replies(row, first_present(row, ("output", "response")))
    return Example((*system_turns(row), question), experts, teachers(row), answer(row, "answer"))


def question_answer(row: Fields) -> Example:
    """A prompt and its short final answer, which a reward can check; no expert."""
    column = first_present(row, ("answer", *REFERENCES))
    reference = answer(row, column)
    if reference is None:
        raise RowError(column, "is missing or empty")
    messages = with_system(row, prompt(row, first_present(row, PROMPTS)))
    return Example(messages, teachers=teachers(row), answer=reference)


def prompt_only(row: Fields) -> Example:
    """A prompt alone, for rewards that need no answer and for `data distill`."""
    return Example(with_system(row, prompt(row, first_present(row, (*PROMPTS, "instruction")))))


def question_prose(row: Fields) -> Example:
    r"""A prompt and a long answer, the expert; its \boxed{}, if any, is the final answer."""
    worked = checked(row.get("answer"), "answer")
    reference = answer(row, first_present(row, REFERENCES)) or boxed(worked)
    messages = with_system(row, prompt(row, first_present(row, PROMPTS)))
    return Example(messages, (worked,), teachers(row), reference)


def has_only_prompt(row: Fields) -> bool:
    """True if the other columns only describe the prompt."""
    known = (*PROMPTS, "instruction", "system", *DESCRIPTIONS)
    return all(
        name in known or (name not in ANSWERING and not isinstance(value, (str, list, dict)))
        for name, value in row.items()
    )


def has_final_mark(row: Fields) -> bool:
    """True if the answer contains `####`."""
    value = row.get("answer")
    return isinstance(value, str) and "####" in value


def has_short_answer(row: Fields) -> bool:
    """True if the answer is a number, or one short line without `####`."""
    value = row.get(first_present(row, ("answer", *REFERENCES)))
    if isinstance(value, str):
        short = len(value) <= SHORT_ANSWER_CHARACTERS and "\n" not in value.strip()
        return short and "####" not in value
    return isinstance(value, (int, float))


def has_long_answer(row: Fields) -> bool:
    """True if the answer is text that is too long for a final answer."""
    return isinstance(row.get("answer"), str) and not has_short_answer(row)


def has_reward_record(row: Fields) -> bool:
    """True if the prompt is turns and reward_model is an object."""
    reward = row.get("reward_model")
    return is_turns(row.get("prompt")) and (
        isinstance(reward, dict) or (isinstance(reward, str) and reward.lstrip()[:1] == "{")
    )
