"""One group from the inside: prompt, answers, rewards, advantages, and every token's probability.

Of a run, the first telling group and the last one are shown: a group with contrast, at best one in
which self responses differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from gft_lite.report.html import text
from gft_lite.report.numbers import figure, number
from gft_lite.report.record import Record, responses
from gft_lite.types import SOURCES

SEARCHED_STEPS = 20  # from either end
SHOWN_RESPONSES = 12
SHOWN_TOKENS = 320
SHOWN_CHARACTERS = 3000
LEVELS = ((0.9, ""), (0.5, "p1"), (0.1, "p2"), (0.01, "p3"), (0.0, "p4"))  # p at least → class
LEGEND = (
    '<p class="legend"><span class="tokens"><span class="p1">p&lt;0.9</span> '
    '<span class="p2">p&lt;0.5</span> <span class="p3">p&lt;0.1</span> '
    '<span class="p4">p&lt;0.01</span></span> Background: the probability the model gave the '
    'token just before the update. <span class="tokens"><span class="r">Underlined</span></span>: '
    "the token counts with a weight below 1. Rest the pointer on a token for both figures.</p>\n"
)


@dataclass(frozen=True)
class Look:
    """How tokens are shown: coloured by their probability or by the weight they got.

    tau: show the weights they would have got with this τ (GFT eq. 5) in place of those they got.
    """

    by: Literal["probability", "weight"] = "probability"
    tau: float | None = None

    def weight(self, p: float | None, got: float | None) -> float | None:
        """The weight to show for a token of probability p that got this one."""
        if self.tau is None or p is None:
            return got
        return p if p < self.tau else 1.0


AS_IT_WAS = Look()


def inside_groups(record: Record) -> str:
    """An early and a late group; nothing where none with a gradient was stored."""
    steps = record.run.group_steps()
    third = max(1, len(steps) // 3)
    early = _telling(record, steps[:third][:SEARCHED_STEPS])
    late = _telling(record, reversed(steps[-third:][-SEARCHED_STEPS:])) if len(steps) > 1 else None
    shown = [group_article(step, group) for step, group in filter(None, (early, late))]
    return LEGEND + "".join(shown) if shown else ""


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
    chosen = [r for r in responses(group) if not source or r.get("source") == source]
    return [number(r, "advantage") or 0.0 for r in chosen]


# --- markup -------------------------------------------------------------------------------------


def group_article(step: int, group: Mapping[str, Any], look: Look = AS_IT_WAS) -> str:
    """One group: its prompt and every answer, token by token where it was trained on."""
    found = responses(group)
    more = len(found) - SHOWN_RESPONSES
    answer = group.get("answer")
    checked = f" · checked against <b>{text(answer)}</b>" if answer is not None else ""
    row = f" · row {text(group['row'])}" if group.get("row") else ""
    rest = f'<p class="more">{more} more answers are not shown.</p>\n' if more > 0 else ""
    return (
        f'<article class="group">\n<h3>Step {step}</h3>\n'
        f'<p class="meta">{len(found)} answer{"s" * (len(found) != 1)} to one prompt{row}{checked}'
        f'</p>\n{_prompt(group)}<ol class="answers">\n'
        f"{''.join(_answer(r, look) for r in found[:SHOWN_RESPONSES])}</ol>\n{rest}</article>\n"
    )


def _prompt(group: Mapping[str, Any]) -> str:
    turns = group.get("prompt")
    if not isinstance(turns, list):
        turns = [{"role": "prompt", "content": turns or ""}]
    said = "".join(
        f'<p><span class="role">{text(turn.get("role", "prompt"))}</span> '
        f'<span class="said" dir="auto">{text(_cut(turn.get("content", "")))}</span></p>\n'
        for turn in turns
        if isinstance(turn, dict)
    )
    return f'<div class="prompt">\n{said}</div>\n'


def _answer(response: Mapping[str, Any], look: Look) -> str:
    source = str(response.get("source", ""))
    colour = f"c-{source}" if source in SOURCES else "c-one"
    advantage = number(response, "advantage") or 0.0
    remarks = []
    if response.get("reward") is not None:
        remarks.append(f"reward {figure(number(response, 'reward'))}{_parts(response)}")
    verdict = response.get("verdict", "ok")
    if verdict != "ok":
        remarks.append(str(verdict))
    if response.get("finished") is False:
        remarks.append("cut off")
    facts = "".join(f"<span>{text(r)}</span>" for r in remarks)
    said = (
        _tokens(response, look) if response.get("tokens") else text(_cut(response.get("text", "")))
    )
    return (
        f'<li class="{colour}">\n<p class="bar"><span class="badge">{text(source or "answer")}'
        f"</span>{facts}{_effect(advantage)}</p>\n"
        f'<p class="tokens" dir="auto">{said}</p>\n</li>\n'
    )


def _parts(response: Mapping[str, Any]) -> str:
    """The named parts of a composed reward; one part alone is the reward itself."""
    parts = response.get("parts")
    if not isinstance(parts, Mapping) or len(parts) < 2:
        return ""
    return f" ({', '.join(f'{name} {figure(number(parts, name))}' for name in parts)})"


def _effect(advantage: float) -> str:
    if not advantage:
        return '<span class="effect">advantage 0, no gradient</span>'
    sign = "+" if advantage > 0 else "−"
    word = "encouraged" if advantage > 0 else "discouraged"
    side = "up" if advantage > 0 else "down"
    return f'<span class="effect {side}">advantage {sign}{abs(advantage):.2f}, {word}</span>'


def _tokens(response: Mapping[str, Any], look: Look) -> str:
    tokens = response["tokens"] if isinstance(response["tokens"], list) else []
    probs, weights = numbers(response, "probs"), numbers(response, "weights")
    out = []
    for i, token in enumerate(tokens[:SHOWN_TOKENS]):
        p = probs[i] if i < len(probs) else None
        weight = look.weight(p, weights[i] if i < len(weights) else None)
        shade = p if look.by == "probability" else weight
        css = next((c for least, c in LEVELS if shade is not None and shade >= least), "")
        if weight is not None and weight < 0.9995:
            css = f"{css} r".strip()
        title = f"p {figure(p)} · weight {figure(weight)}"
        shown = text(token).replace("\n", "↵\n") or "∅"
        kind = f' class="{css}"' if css else ""
        out.append(f'<span{kind} title="{title}">{shown}</span>')
    more = len(tokens) - SHOWN_TOKENS
    return "".join(out) + (f' <span class="more">… {more:,} more tokens</span>' if more > 0 else "")


def numbers(response: Mapping[str, Any], key: str) -> list[float | None]:
    """The values of a response's tokens; None for what is no number."""
    values = response.get(key)
    return [number({"v": v}, "v") for v in values] if isinstance(values, list) else []


def _cut(value: object) -> str:
    plain = str(value)
    return plain if len(plain) <= SHOWN_CHARACTERS else f"{plain[:SHOWN_CHARACTERS]} …"
