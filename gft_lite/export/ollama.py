"""An Ollama Modelfile whose template is read off the model's own chat template.

Ollama writes prompts with a Go template. It is built here by rendering the Jinja template with
markers and cutting the text around them, and it is only used if it reproduces what Jinja renders;
a template that does more (tools, dates, a default system turn) is left to Ollama's own guess, and
the Modelfile says so.
"""

from __future__ import annotations

from typing import Any

SYSTEM, USER = "\u241fS\u241f", "\u241fU\u241f"


def modelfile(tokenizer: Any, weights: str, stop_ids: tuple[int, ...]) -> str:
    """The Modelfile.

    Args:
        tokenizer: with the chat template.
        weights: what FROM names: a GGUF file, or `.` for a folder of safetensors.
        stop_ids: tokens that end an answer.
    """
    lines = ["# ollama create NAME -f Modelfile", f"FROM {weights}"]
    template = go_template(tokenizer)
    if template is None:
        lines.append(
            "# The chat template has no exact Go form: Ollama takes the one it recognises."
        )
        lines.append("# Compare `ollama show --template NAME` with the model's chat template.")
    else:
        lines.append(f'TEMPLATE """{template}"""')
    stops = dict.fromkeys(tokenizer.decode([i]) for i in stop_ids)
    lines += [f'PARAMETER stop "{stop}"' for stop in stops]
    return "\n".join(lines) + "\n"


def go_template(tokenizer: Any) -> str | None:
    """The chat template in Go's words, or None if that would not be exact."""
    if not tokenizer.chat_template:
        return None
    try:
        alone = _render(tokenizer, [("user", USER)])
        led = _render(tokenizer, [("system", SYSTEM), ("user", USER)])
    except Exception:  # templates raise whatever they like; then there is no exact form
        return None
    before, user, after = alone.partition(USER)
    system_before, system, rest = led.partition(SYSTEM)
    if not (user and system and rest.endswith(before + USER + after)):
        return None
    system_after = rest.removesuffix(before + USER + after)
    if any('"""' in part or "{{" in part for part in (alone, led)):
        return None
    return (
        f"{{{{ if .System }}}}{system_before}{{{{ .System }}}}{system_after}{{{{ end }}}}"
        f"{before}{{{{ .Prompt }}}}{after}{{{{ .Response }}}}"
    )


def _render(tokenizer: Any, turns: list[tuple[str, str]]) -> str:
    messages = [{"role": role, "content": content} for role, content in turns]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
