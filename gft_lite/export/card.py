"""The README.md of an export: origin, measured quality, licence and loading."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gft_lite.config import EMBEDDED_MODEL
from gft_lite.export.parity import Parity
from gft_lite.models.fingerprint import local_folder

Record = Mapping[str, Any]
SHARES = ("greedy_accuracy", "mean_at_k", "pass_at_k")


def model_card(
    record: Record, kind: str, gates: Mapping[str, Parity], *, base: str, licence: str | None
) -> str:
    """The card as Markdown with the hub's YAML head.

    Args:
        record: what is known of the adapter (`adapters.record_of`).
        kind: adapter, merged, gguf or gguf-adapter.
        gates: parity checks that were passed, by what was checked.
        base: name under which others find the base.
        licence: of the base, None if it is not known.
    """
    on_hub = base == record["base"]["name"] and not Path(base).exists()
    head: dict[str, Any] = {"base_model": base} if on_hub else {}
    head |= {"license": licence} if licence else {}
    head |= {"library_name": "peft" if kind == "adapter" else "transformers"}
    head |= {"pipeline_tag": "text-generation", "tags": ["gft-lite", "lora"]}
    named = record["base"]
    known = f"{named['name']}" + (f", revision {named['revision']}" if named["revision"] else "")
    parts = [
        "---\n" + yaml.safe_dump(head, sort_keys=False) + "---",
        f"# {kind.capitalize()} of {known}",
        f"Written by gft-lite {record['gft_lite']}.",
        "## How good it is\n\n" + _metrics(record.get("metrics") or {}),
        "## Where it comes from\n\n" + _origin(record, known),
        "## Licence\n\n" + _licence(known, licence),
        "## Loading it\n\n" + _loading(kind, base),
        "## Checked at export\n\n" + _gates(gates),
    ]
    if config := record.get("config"):
        settings = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        parts.append("## Settings\n\n```yaml\n" + settings + "```")
    return "\n\n".join(parts) + "\n"


def licence_of(source: str, name: str, revision: str | None) -> str | None:
    """Licence of a base from the README beside its weights, without network access."""
    if name == EMBEDDED_MODEL:
        return "apache-2.0"
    folder = local_folder(source, revision)
    readme = folder / "README.md" if folder else None
    if readme is None or not readme.is_file():
        return None
    head = readme.read_text(encoding="utf-8", errors="replace").split("---")
    try:
        fields = yaml.safe_load(head[1]) if len(head) > 2 and not head[0].strip() else None
    except yaml.YAMLError:
        return None
    licence = fields.get("license") if isinstance(fields, dict) else None
    return licence if isinstance(licence, str) else None


def _metrics(metrics: Mapping[str, Any]) -> str:
    rows = []
    for label, name in (("target", "target"), ("old skill", "old_skill")):
        figures = metrics.get(name)
        if not isinstance(figures, Mapping):
            continue
        for share in SHARES:
            if figures.get(share) is None:
                continue
            around = (figures.get("intervals") or {}).get(share)
            interval = f"{around['low']:.3f} – {around['high']:.3f}" if around else ""
            title = share.replace("_at_k", f"@{figures['k']}").replace("_", " ")
            if share.endswith("_at_k") and figures.get("temperature") is not None:
                title += f" at temperature {figures['temperature']:g}"
            rows.append(
                f"| {label} | {title} | {figures[share]:.3f} | {interval} | {figures['n']} |"
            )
    lines = ["| data | figure | value | 95 % interval | prompts |", "|---|---|---|---|---|", *rows]
    text = "\n".join(lines) if rows else "It was not measured on held-out data."
    if drift := metrics.get("drift"):
        text += (
            f"\n\nKL to the base on its own responses: {drift['kl_nats_per_token']:z.4f} nats "
            "per token."
        )
    return text


def _origin(record: Record, known: str) -> str:
    lines = [f"- base: {known}"]
    if sha := record["base"].get("weights_sha256"):
        lines.append(f"- hash of the base's weights: `{sha[:16]}`")
    if template := record.get("chat_template_sha256"):
        lines.append(f"- chat template: sha256 `{template[:16]}`")
    if data := record.get("data"):
        sha = f", sha256 `{data['sha256'][:16]}`" if data.get("sha256") else ""
        lines.append(f"- data: {data['path']}, {data['examples']} examples{sha}")
    for i, stage in enumerate(record.get("stages", []), 1):
        known_of = {
            k: v for k, v in stage.items() if k not in ("method", "inputs") and v not in (None, [])
        }
        facts = ", ".join(f"{k.replace('_', ' ')} {_short(v)}" for k, v in known_of.items())
        lines.append(f"- stage {i}: {stage['method']}" + (f" ({facts})" if facts else ""))
    return "\n".join(lines)


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(f"{p.get('adapter')} × {p.get('weight'):.3g}" for p in value)
    text = str(value)
    return f"{text[:16]}…" if len(text) == 64 else text


def _licence(known: str, licence: str | None) -> str:
    if licence:
        return f"The licence of the base applies: {licence}."
    return (
        f"The licence of the base ({known}) applies; it could not be read on the machine that made "
        "this export. Look it up before you pass this on."
    )


def _loading(kind: str, base: str) -> str:
    if kind == "adapter":
        return (
            "```python\nfrom peft import PeftModel\n"
            "from transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f'model = AutoModelForCausalLM.from_pretrained("{base}")\n'
            'model = PeftModel.from_pretrained(model, "THIS_FOLDER")\n'
            'tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")\n```\n\n'
            "To go on training it, add `is_trainable=True`."
        )
    if kind == "merged":
        return (
            "```python\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            'model = AutoModelForCausalLM.from_pretrained("THIS_FOLDER")\n'
            'tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")\n```\n\n'
            "With Ollama: `ollama create NAME -f Modelfile`."
        )
    return "With Ollama: `ollama create NAME -f Modelfile`. With llama.cpp: `llama-cli -m FILE`."


def _gates(gates: Mapping[str, Parity]) -> str:
    lines = [
        "| against the live model | prompts | tokens | largest log-prob difference | mean | "
        "same greedy answers |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {name} | {p.prompts} | {p.tokens} | {p.max_logp_difference:.2g} | "
        f"{p.mean_logp_difference:.2g} | {p.same_answers} |"
        for name, p in gates.items()
    ]
    return "\n".join(lines)
