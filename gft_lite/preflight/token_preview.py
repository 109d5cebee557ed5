"""One row as the model will see it: the chat template applied, the trained part marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gft_lite.models.batching import ChatFormat
from gft_lite.types import Example, Response, Source

OPEN, CLOSE = "⟦", "⟧"


@dataclass(frozen=True)
class Previewed:
    """The text of prompt and trained response, from their very tokens, and how many those are."""

    row: int
    source: Source
    prompt: str
    response: str
    prompt_tokens: int
    response_tokens: int

    @property
    def marked(self) -> str:
        """The whole sequence with the trained part in brackets."""
        return f"{self.prompt}{OPEN}{self.response}{CLOSE}"


def preview(examples: Sequence[Example], tokenizer: Any) -> list[Previewed]:
    """Every demonstration of these examples; a prompt without one with an empty response."""
    chat = ChatFormat(tokenizer)
    shown = []
    for example in examples:
        prompt = chat.prompt_ids(example.prompt)
        offered: list[tuple[Source, str]] = [("expert", text) for text in example.experts]
        offered += [("teacher", text) for text in example.teachers]
        for source, text in offered or [("self", "")]:
            response = chat.response_ids(Response(text, source)) if text else ()
            shown.append(
                Previewed(
                    example.row,
                    source,
                    tokenizer.decode(list(prompt)),
                    tokenizer.decode(list(response)),
                    len(prompt),
                    len(response),
                )
            )
    return shown
