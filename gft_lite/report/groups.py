"""One group from the inside: prompt, answers, rewards, advantages, and every token's probability.

Of a run, the first telling group and the last one are shown: a group with contrast, at best one in
which self responses differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Literal

from gft_lite.report.html import Markup, printable, render
from gft_lite.report.numbers import figure, number
from gft_lite.report.record import Record, responses
from gft_lite.types import SOURCES

SEARCHED_STEPS = 20  # from either end
SHOWN_RESPONSES = 12
SHOWN_TOKENS = 320
SHOWN_CHARACTERS = 3000
LEVELS = ((0.9, ""), (0.5, "p1"), (0.1, "p2"), (0.01, "p3"), (0.0, "p4"))  # p at least → class
LEGEND = render("report/legend.html")


@dataclass(frozen=True)
class Look:
    """How tokens are shown: coloured by their probability or by the weight they got.

    tau: show the weights they would have got with this τ (GFT eq. 5) in place of those they got.
    """

    by: Literal["probability", "weight"] = "probability"
    tau: float | None = None

    def weight(self, p: float | None, recorded: float | None) -> float | None:
        """The weight to show for a token of probability p that got this one."""
        if self.tau is None or p is None:
            return recorded
        return p if p < self.tau else 1.0


AS_IT_WAS = Look()


def inside_groups(record: Record) -> str:
    """An early and a late group; nothing where none with a gradient was stored."""
    steps = record.run.group_steps()
    third = max(1, len(steps) // 3)
    early = _telling(record, steps[:third][:SEARCHED_STEPS])
    late = _telling(record, reversed(steps[-third:][-SEARCHED_STEPS:])) if len(steps) > 1 else None
    shown = [group_article(step, group) for step, group in filter(None, (early, late))]
    return Markup("").join([LEGEND, *shown]) if shown else ""


def _telling(record: Record, steps: Iterable[int]) -> tuple[int, Mapping[str, Any]] | None:
    best: tuple[tuple[bool, bool, bool], int, Mapping[str, Any]] | None = None
    for step in steps:
        for group in record.groups(step):
            interest = _interest(group)
            if any(_advantages(group)) and (best is None or interest > best[0]):
                best = (interest, step, group)
        if best and all(best[0]):
            break
    return best[1:] if best else None


def _interest(group: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    """(its tokens are known, it has contrast, self responses differ)."""
    every, own = _advantages(group), _advantages(group, "self")
    return (
        any("tokens" in r for r in responses(group)),
        min(every) < 0 < max(every),
        bool(own) and min(own) < 0 < max(own),
    )


def _advantages(group: Mapping[str, Any], source: str = "") -> list[float]:
    selected = [r for r in responses(group) if not source or r.get("source") == source]
    return [number(r, "advantage") or 0.0 for r in selected]


def group_article(step: int, group: Mapping[str, Any], look: Look = AS_IT_WAS) -> Markup:
    """One group: its prompt and every response, token by token if it was trained on."""
    listed = responses(group)
    return render(
        "report/group.html",
        step=step,
        count=len(listed),
        row=group.get("row"),
        answer=group.get("answer"),
        turns=_turns(group.get("prompt")),
        responses=[_response(r, look) for r in listed[:SHOWN_RESPONSES]],
        left_out=len(listed) - SHOWN_RESPONSES,
    )


def _turns(prompt: object) -> list[tuple[object, str]]:
    """(role, content) of every turn."""
    turns = prompt if isinstance(prompt, list) else [{"content": prompt or ""}]
    return [
        (turn.get("role", "prompt"), _cut(turn.get("content", "")))
        for turn in turns
        if isinstance(turn, dict)
    ]


def _response(response: Mapping[str, Any], look: Look) -> dict[str, Any]:
    """The values of a response in group.html."""
    source = str(response.get("source", ""))
    advantage = number(response, "advantage") or 0.0
    effect = "advantage 0, no gradient"
    if advantage:
        sign, word = ("+", "encouraged") if advantage > 0 else ("−", "discouraged")
        effect = f"advantage {sign}{abs(advantage):.2f}, {word}"
    remarks = []
    if response.get("reward") is not None:
        remarks.append(f"reward {figure(number(response, 'reward'))}{_parts(response)}")
    if (verdict := response.get("verdict", "ok")) != "ok":
        remarks.append(verdict)
    if response.get("finished") is False:
        remarks.append("cut off")
    tokens = response["tokens"] if isinstance(response.get("tokens"), list) else []
    return {
        "source": source,
        "colour": f"c-{source}" if source in SOURCES else "c-one",
        "remarks": remarks,
        "effect": effect,
        "direction": " up" if advantage > 0 else " down" if advantage < 0 else "",
        "tokens": _tokens(response, tokens[:SHOWN_TOKENS], look),
        "tokens_left_out": len(tokens) - SHOWN_TOKENS,
        "text": _cut(response.get("text", "")),
    }


def _parts(response: Mapping[str, Any]) -> str:
    """The named parts of a composed reward; one part alone is the reward itself."""
    parts = response.get("parts")
    if not isinstance(parts, Mapping) or len(parts) < 2:
        return ""
    return f" ({', '.join(f'{name} {figure(number(parts, name))}' for name in parts)})"


def _tokens(
    response: Mapping[str, Any], tokens: Sequence[object], look: Look
) -> list[dict[str, str]]:
    """Text, CSS class and figures of every token."""
    probs, weights = numbers(response, "probs"), numbers(response, "weights")
    cells = []
    for token, p, recorded in zip_longest(tokens, probs[: len(tokens)], weights[: len(tokens)]):
        weight = look.weight(p, recorded)
        shade = p if look.by == "probability" else weight
        css = next((c for least, c in LEVELS if shade is not None and shade >= least), "")
        if weight is not None and weight < 0.9995:
            css = f"{css} r".strip()
        cells.append(
            {
                "text": printable(token).replace("\n", "↵\n") or "∅",
                "css": css,
                "title": f"p {figure(p)} · weight {figure(weight)}",
            }
        )
    return cells


def numbers(response: Mapping[str, Any], key: str) -> list[float | None]:
    """The values of a response's tokens; None for what is no number."""
    values = response.get(key)
    return [number({"v": v}, "v") for v in values] if isinstance(values, list) else []


def _cut(value: object) -> str:
    plain = str(value)
    return plain if len(plain) <= SHOWN_CHARACTERS else f"{plain[:SHOWN_CHARACTERS]} …"
