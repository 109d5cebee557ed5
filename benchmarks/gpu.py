"""Steps of GFT on a GPU under the memory of smaller cards, on both backends and beside TRL's GRPO.

    python benchmarks/gpu.py --out benchmarks/results/gpu
    python benchmarks/gpu.py --out /tmp/gpu --device cpu        # tries the script, on a tiny shape

Needs a CUDA GPU and no network. Every model has random weights at a real shape (random_models.py),
held in NF4 with LoRA of rank 16 and gradient checkpointing. A row is one model, one card, one
runner, in a process of its own: one that runs out of memory ends nothing but itself.

hf, unsloth   one prompt a step, 1 expert and K answers of the policy, through the whole trainer
trl           GRPOTrainer on the policy that `hf` loads, one prompt with K generations a step

All use micro-batches of one sequence, temperature 1, no KL. The process may take the card's memory
less what CUDA itself holds (`set_per_process_memory_fraction`). Seconds are medians over the steps
after the first. `gpu.json` has every row of the plan; one that was not measured says why.
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from random_models import CONFIGS, write_model

GIB = 2**30
CONTEXT_GIB = 0.6  # of a card: CUDA's kernels and workspaces, which torch does not count
RUNNERS = ("hf", "unsloth", "trl")
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes", "accelerate", "trl", "unsloth")
ROW_MINUTES = 15


@dataclass(frozen=True)
class Task:
    """K answers to a prompt; lengths in tokens."""

    k: int
    prompt_tokens: int
    new_tokens: int

    @property
    def file(self) -> str:
        """Name of its data, beside the model."""
        return f"data-{self.prompt_tokens}-{self.new_tokens}.jsonl"


SHORT, LONG, LARGE = Task(4, 512, 512), Task(4, 512, 1024), Task(8, 1024, 2048)
PLAN: dict[str, list[tuple[int, Task]]] = {  # model → cards (GiB) and what to do on them
    "tiny": [(6, Task(2, 64, 24))],
    "qwen2.5-1.5b": [(6, SHORT), (8, SHORT), (12, LARGE)],
    "llama-3.2-3b": [(6, SHORT), (8, SHORT), (12, LONG)],
    "qwen2.5-7b": [(8, SHORT), (12, LONG), (16, LARGE), (24, LARGE)],
    "qwen3-8b": [(12, LONG), (16, LONG), (24, LARGE)],
}


@dataclass(frozen=True)
class Row:
    """What is measured together."""

    model: str
    card_gib: int
    runner: str
    task: Task
    steps: int


def main() -> int:
    asked = arguments()
    if asked.row:
        row = json.loads(asked.row)
        measure(Row(**{**row, "task": Task(**row["task"])}), asked.models, asked.out)
        return 0
    if asked.build:
        write_model(asked.build, asked.models / asked.build)
        for _, task in PLAN[asked.build]:
            write_data(asked.models / asked.build / task.file, task)
        return 0
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    device = describe_device()
    if asked.device == "cuda" and not device["cuda"]:
        print("error: no CUDA GPU here; --device cpu tries the script on a tiny shape")
        return 2
    names = asked.model or (["tiny"] if asked.device == "cpu" else [n for n in PLAN if n != "tiny"])
    rows = [
        Row(name, card, runner, task, asked.steps)
        for name in names
        for card, task in PLAN[name]
        for runner in asked.runner or RUNNERS
        if not asked.card or card in asked.card
    ]
    run_plan(rows, device, asked)
    return 0


def run_plan(rows: list[Row], device: dict[str, Any], asked: argparse.Namespace) -> None:
    """Measure every row, writing the document after each."""
    asked.out.mkdir(parents=True, exist_ok=True)
    document = {
        "what": "GFT steps in NF4 under the memory of smaller cards; see benchmarks/gpu.py",
        "date": datetime.date.today().isoformat(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in LIBRARIES},
        "device": device,
        "context_gib": CONTEXT_GIB,
        "rows": [{**asdict(row), "status": "not measured", "why": "not reached"} for row in rows],
    }
    ends = time.monotonic() + 60 * asked.minutes
    with tempfile.TemporaryDirectory(dir=asked.models) as models:
        for i, row in enumerate(rows):
            if time.monotonic() < ends:
                document["rows"][i] |= outcome(row, device, Path(models), ends)
            else:
                document["rows"][i]["why"] = f"the {asked.minutes} minutes of this run were over"
            text = json.dumps(document, indent=1)
            (asked.out / "gpu.json").write_text(text + "\n", encoding="utf-8")
            print(line_of(document["rows"][i]), file=sys.stderr)
            if i + 1 == len(rows) or rows[i + 1].model != row.model:
                shutil.rmtree(Path(models) / row.model, ignore_errors=True)


def outcome(row: Row, device: dict[str, Any], models: Path, ends: float) -> dict[str, Any]:
    """What came of a row: numbers, or why there are none."""
    if row.runner == "unsloth" and _version("unsloth") is None:
        return {"status": "not measured", "why": "Unsloth is not installed"}
    if row.runner == "trl" and _version("trl") is None:
        return {"status": "not measured", "why": "TRL is not installed"}
    if device["cuda"] and row.card_gib - CONTEXT_GIB > device["total_gib"]:
        return {"status": "not measured", "why": f"this GPU has {device['total_gib']:.1f} GiB"}
    left = max(60.0, min(60.0 * ROW_MINUTES, ends - time.monotonic()))
    folder = models / row.model
    if not folder.is_dir():
        told = child("--build", row.model, "--models", str(models), seconds=60.0 * ROW_MINUTES)
        if told is not None:
            shutil.rmtree(folder, ignore_errors=True)
            return {"status": "not measured", "why": f"the model was not written: {told}"}
    with tempfile.TemporaryDirectory() as work:
        named = ("--row", json.dumps(asdict(row)), "--models", str(models), "--out", work)
        told = child(*named, seconds=left)
        result = Path(work) / "row.json"
        if result.is_file():
            return {"why": None, **json.loads(result.read_text(encoding="utf-8"))}
    return {"status": "failed", "why": told}


def child(*more: str, seconds: float) -> str | None:
    """Run this script with other arguments; None, or the last line of what went wrong."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    try:
        ran = subprocess.run(
            [sys.executable, __file__, *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return f"took longer than {seconds:.0f} s"
    if ran.returncode == 0:
        return None
    lines = [line for line in ran.stdout.splitlines() if line.strip()]
    return (lines or [f"ended with exit code {ran.returncode}"])[-1][:400]


# --- one row, in its own process ---


def measure(row: Row, models: Path, out: Path) -> None:
    """Run the steps of a row and write its numbers, or that memory was not enough."""
    import torch

    cuda = torch.cuda.is_available()
    if cuda:
        total = torch.cuda.get_device_properties(0).total_memory / GIB
        share = (row.card_gib - CONTEXT_GIB) / total
        torch.cuda.set_per_process_memory_fraction(min(1.0, share))
    config = make_config(row, models / row.model)
    found: dict[str, Any] = {"status": "measured", "capped": cuda, "notes": []}
    found["forecast_gib"] = predict(config)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            trl = row.runner == "trl"
            steps = run_trl(config, out) if trl else run_ours(config, out, found["notes"])
        found |= figures(steps)
    except torch.cuda.OutOfMemoryError:
        found |= {"status": "out of memory"}
    if cuda:
        found["peak_gib"] = torch.cuda.max_memory_allocated() / GIB
        found["reserved_gib"] = torch.cuda.max_memory_reserved() / GIB
        if found["forecast_gib"] and found["status"] == "measured" and row.runner != "trl":
            found["peak_over_forecast"] = found["peak_gib"] / found["forecast_gib"]
    (out / "row.json").write_text(json.dumps(found), encoding="utf-8")


def make_config(row: Row, model: Path) -> Any:
    """The run of a row."""
    from gft_lite.config import load_config

    task, backend = row.task, "hf" if row.runner == "trl" else row.runner
    return load_config(
        overrides=[
            f"model.name={json.dumps(str(model))}",
            f"model.backend={backend}",
            "model.load_in_4bit=true",
            "model.gradient_checkpointing=true",
            f"data.path={json.dumps(str(model / task.file))}",
            f"data.max_prompt_tokens={task.prompt_tokens}",
            "group.expert=1",
            f"group.self={task.k}",
            f"group.max_new_tokens={task.new_tokens}",
            f"train.steps={row.steps}",
            "train.prompts_per_step=1",
            "train.learning_rate=1.0e-6",
            f"train.micro_batch_tokens={task.prompt_tokens + task.new_tokens}",
            f"train.rollout_batch={task.k}",
            "train.checkpoint_every=0",
            "train.log_kl_every=0",
            "train.log_groups_every=0",
        ]
    )


def write_data(path: Path, task: Task, rows: int = 8) -> None:
    """Prompts and right answers of nearly as many tokens as the task allows."""
    from gft_lite.config import ModelConfig
    from gft_lite.models import load_tokenizer
    from gft_lite.models.batching import ChatFormat
    from gft_lite.types import Message, Response

    chat = ChatFormat(load_tokenizer(ModelConfig(name="tiny")))

    def prompt_length(text: str) -> int:
        return len(chat.prompt_ids((Message("user", text),)))

    def answer_length(text: str) -> int:
        return len(chat.response_ids(Response(text, "expert")))

    lines = []
    for i in range(rows):
        prompt, expert = f"What is {i} + 1?", f"#### {i + 1}"
        unit = prompt_length("1 + 1 " * 2) - prompt_length("1 + 1 ")
        prompt = "1 + 1 " * ((task.prompt_tokens - prompt_length(prompt) - 4) // unit) + prompt
        unit = answer_length("1 + 1 " * 2) - answer_length("1 + 1 ")
        expert = "1 + 1 " * ((task.new_tokens - answer_length(expert) - 4) // unit) + expert
        lines.append(json.dumps({"prompt": prompt, "expert": expert, "answer": str(i + 1)}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def predict(config: Any) -> float | None:
    """Most GiB of tensors that the forecast expects, where this version has one."""
    try:
        from gft_lite.memory import forecast, shape_of
    except ImportError:
        return None
    return forecast(config, shape_of(config.model)).tensors / GIB


def run_ours(config: Any, out: Path, notes: list[Any]) -> list[dict[str, float]]:
    """Steps of our trainer, as its events tell them; `notes` gets what else it said, such as that
    it went on with smaller batches."""
    from gft_lite.training.worker import train_iter

    steps = []
    for event in train_iter(config, out / "run"):
        if event["type"] == "step":
            steps.append(
                {
                    "seconds": event["seconds"],
                    "rollout": event["rollout_seconds"],
                    "training": event["train_seconds"],
                    "sampled_tokens": event["self_response_tokens"] * config.group.self_,
                    "trained_tokens": event["trained_tokens"],
                }
            )
        elif event["type"] not in ("started", "checkpoint", "finished"):
            notes.append(event)
    return steps


def run_trl(config: Any, out: Path) -> list[dict[str, float]]:
    """Steps of GRPOTrainer, timed from outside: its rollout is `_generate`."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from gft_lite.data import load_examples
    from gft_lite.models import load_policy

    policy: Any = load_policy(config.model, config.lora, seed=0)
    examples = load_examples(config.data.path).examples
    prompts = [[{"role": m.role, "content": m.content} for m in e.prompt] for e in examples]
    cuda, k = policy.device.type == "cuda", config.group.self_
    steps: list[dict[str, float]] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            steps.append({"rollout": 0.0, "sampled_tokens": 0.0})
            self.started = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            now = steps[-1]
            now["seconds"] = _now(cuda) - self.started
            now["training"] = now["seconds"] - now["rollout"]
            now["trained_tokens"] = now["sampled_tokens"]

    trainer = GRPOTrainer(
        model=policy.model,
        reward_funcs=lambda completions, **_: [i % 3 / 2 for i in range(len(completions))],
        args=GRPOConfig(
            output_dir=str(out / "trl"),
            max_steps=config.train.steps,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=k,
            num_generations=k,
            max_completion_length=config.group.max_new_tokens,
            learning_rate=config.train.learning_rate,
            optim="paged_adamw_8bit" if cuda else "adamw_torch",
            beta=0.0,
            temperature=1.0,
            top_p=1.0,
            top_k=0,
            gradient_checkpointing=True,
            gradient_checkpointing_kwargs={"use_reentrant": False},
            bf16=policy.dtype is torch.bfloat16,
            fp16=policy.dtype is torch.float16,
            use_cpu=not cuda,
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
        processing_class=policy.tokenizer,
        callbacks=[Clock()],
    )
    generate = trainer._generate

    def timed(*positional: Any, **named: Any) -> Any:
        started = time.perf_counter()
        result = generate(*positional, **named)
        steps[-1]["rollout"] += _now(cuda) - started
        steps[-1]["sampled_tokens"] += sum(map(len, result[1]))
        return result

    trainer._generate = timed
    trainer.train()
    return steps


def _now(cuda: bool) -> float:
    import torch

    if cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def figures(steps: list[dict[str, float]]) -> dict[str, Any]:
    """Medians over the steps after the first, which also compiles and warms up."""
    later = steps[1:] or steps
    middle = {key: statistics.median(step[key] for step in later) for key in steps[0]}
    return {
        "rollout_seconds": middle["rollout"],
        "training_seconds": middle["training"],
        "seconds": middle["seconds"],
        "sampled_tokens_per_second": middle["sampled_tokens"] / middle["rollout"],
        "trained_tokens_per_second": middle["trained_tokens"] / middle["training"],
        "each_step": steps,
    }


# --- words ---


def describe_device() -> dict[str, Any]:
    """The GPU, asked in another process: this one must not hold any of its memory."""
    code = (
        "import json, torch; c = torch.cuda.is_available(); "
        "p = torch.cuda.get_device_properties(0) if c else None; "
        "print(json.dumps({'cuda': c, 'name': p.name if c else 'CPU', "
        "'total_gib': p.total_memory / 2**30 if c else None, 'torch_cuda': torch.version.cuda}))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return json.loads(ran.stdout)


def line_of(row: dict[str, Any]) -> str:
    """One row in a line."""
    task = row["task"]
    what = (
        f"{row['model']:13} {row['card_gib']:3} GiB  K={task['k']} "
        f"{task['prompt_tokens']}+{task['new_tokens']:<5} {row['runner']:8}"
    )
    if row["status"] != "measured":
        return f"{what} {row['status']}" + (f": {row['why']}" if row["why"] else "")
    peak = f"peak {row['peak_gib']:.2f} GiB, " if "peak_gib" in row else ""
    return (
        f"{what} {peak}rollout {row['rollout_seconds']:.1f} s, training "
        f"{row['training_seconds']:.1f} s, {row['sampled_tokens_per_second']:.0f} sampled tokens/s"
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder for gpu.json")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--model", action="append", choices=CONFIGS, help="only this; repeatable")
    parser.add_argument(
        "--card", action="append", type=int, help="only this card (GiB); repeatable"
    )
    parser.add_argument("--runner", action="append", choices=RUNNERS, help="only this; repeatable")
    parser.add_argument("--steps", type=int, default=3, help="of a row, the first not counted")
    parser.add_argument("--minutes", type=float, default=600, help="start no row after this long")
    parser.add_argument("--models", type=Path, help="where models are written (up to 17 GB each)")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    parser.add_argument("--build", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.out is None and asked.build is None:
        parser.error("--out names the folder for gpu.json")
    return asked


if __name__ == "__main__":
    sys.exit(main())
