"""A row as the model sees it: the chat template applied, the trained part marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gft_lite.models.batching import ChatFormat
from gft_lite.types import Example, Response, Source

OPEN, CLOSE = "⟦", "⟧"


@dataclass(frozen=True)
class TokenPreview:
    """Prompt and trained response, decoded from their tokens, and their lengths in tokens."""

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


def preview(examples: Sequence[Example], tokenizer: Any) -> list[TokenPreview]:
    """Every demonstration of these examples; a prompt without one has an empty response."""
    chat = ChatFormat(tokenizer)
    previews = []
    for example in examples:
        prompt = chat.prompt_ids(example.prompt)
        responses = [Response(text, "expert") for text in example.experts]
        responses += [Response(text, "teacher") for text in example.teachers]
        for response in responses or [Response("", "self")]:
            tokens = chat.response_ids(response) if response.text else ()
            previews.append(
                TokenPreview(
                    row=example.row,
                    source=response.source,
                    prompt=tokenizer.decode(list(prompt)),
                    response=tokenizer.decode(list(tokens)),
                    prompt_tokens=len(prompt),
                    response_tokens=len(tokens),
                )
            )
    return previews
