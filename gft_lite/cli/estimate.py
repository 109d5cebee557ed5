"""`gft-lite estimate`: the GPU memory that a run will need, before anything loads."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from gft_lite.cli.options import JsonOption, PresetOption, RunArgument, SetOption


def estimate(
    run: RunArgument = None,
    preset: PresetOption = None,
    gpu_gib: Annotated[
        float | None, typer.Option("--gpu-gib", min=0.1, help="Memory of your GPU in GiB.")
    ] = None,
    set_: SetOption = None,
    json_: JsonOption = False,
) -> None:
    """Forecast the GPU memory of a run: its parts, the total, and the cards on which it fits.

    With --gpu-gib it lists changes that make the run fit. The exit code is 0 whether or not it
    fits; scripts read `verdict` of --json.
    """
    from gft_lite.cli import terminal
    from gft_lite.config import load_config
    from gft_lite.memory import GIB, forecast, shape_of

    config = load_config(run, preset=preset, overrides=set_ or [])
    shape = shape_of(config.model)
    memory = forecast(config, shape)
    document: dict[str, Any] = {
        "model": config.model.name,
        "parameters": shape.parameters,
        "prompt_tokens": config.data.max_prompt_tokens,
        "response_tokens": config.group.max_new_tokens,
        **memory.to_dict(),
    }
    advice: list[str] = []
    if gpu_gib is not None:
        verdict = memory.verdict(gpu_gib)
        document |= {"gpu_gib": gpu_gib, "verdict": verdict}
        if verdict != "fits":
            document |= _alternatives(config, shape, gpu_gib)
            advice = _advice(document)
    if json_:
        terminal.print_json(document)
        return
    bits = ", 4-bit" if config.model.load_in_4bit else ""
    terminal.table(
        f"{config.model.name} ({shape.parameters / 1e6:,.0f} M parameters{bits}), forecast",
        ["", "GiB"],
        [[name, f"{size / GIB:.2f}"] for name, size in _rows(memory)],
    )
    cards = [f"{gib} GiB {verdict}" for gib, verdict in document["cards"].items()]
    terminal.result(f"Cards: {' · '.join(cards)}")
    if gpu_gib is not None:
        terminal.result(f"Yours: {gpu_gib:g} GiB {document['verdict']}")
    for line in advice:
        terminal.result(line)
    terminal.note(
        "Nothing was loaded or measured. Counted with prompts of "
        f"{config.data.max_prompt_tokens} and answers of {config.group.max_new_tokens} tokens; "
        "shorter ones need less."
    )


def _rows(memory: Any) -> list[tuple[str, int]]:
    phases = [
        (f"{name}, {part}", size)
        for name, parts in memory.phases.items()
        for part, size in parts.items()
        if size
    ]
    return [
        *memory.resident.items(),
        *phases,
        ("CUDA libraries", memory.context),
        (f"total, at its peak in {memory.peak_phase}", memory.total),
    ]


def _alternatives(config: Any, shape: Any, gpu_gib: float) -> dict[str, Any]:
    from gft_lite.config import card_presets, load_config
    from gft_lite.memory import forecast, settings_that_fit, shape_of, smaller_models

    presets = [
        name
        for name in card_presets()
        if forecast(card := load_config(preset=name), shape_of(card.model)).verdict(gpu_gib)
        == "fits"
    ]
    return {
        "changes": settings_that_fit(config, shape, gpu_gib),
        "presets": presets[-1:],
        "smaller_models": smaller_models(config, gpu_gib),
    }


def _advice(document: dict[str, Any]) -> list[str]:
    lines = []
    if document["changes"]:
        changed = " ".join(f"--set {change}" for change in document["changes"])
        lines.append(f"It fits with {changed}")
    elif document["smaller_models"]:
        lines.append(f"A smaller model fits as it is: {', '.join(document['smaller_models'][:3])}")
    if document["presets"]:
        lines.append(f"A preset that fits: --preset {document['presets'][0]}")
    return lines or ["No setting makes it fit: lower group.max_new_tokens, or take a smaller model"]
