"""Seconds and memory of one training step beside TRL's GRPOTrainer, at equal work, in one run.

    python benchmarks/step.py --out benchmarks/results/step.json
    python benchmarks/step.py --checkout before=../older --out /tmp/step.json

Both sides train the embedded model (or `--model`) with the same LoRA, on the same prompts in the
same order, with the same number of answers of the same greatest length, at temperature 1, scored by
the same graded reward, so that every response has an advantage and is trained. The learning rate is
so small that both go on sampling from the same policy. Neither measures KL nor stores groups. Rows:

    self        6 answers of the policy a prompt            against 6 generations
    paper       1 expert + 3 teachers + 4 answers           against 8 generations

TRL runs twice, with the whole step as one micro-batch and with micro-batches of two groups; the
ratio is to the faster of the two. Every measurement is a process of its own; the sides take turns,
and a ratio is the median over rounds of the ratio within a round. Seconds are medians over steps,
the first left out; `cpu` are the process's own seconds, which other programs on the machine disturb
least. On the side of TRL rollout is `_generate`, scoring `_calculate_rewards`, training the rest of
the step. Memory is the process's largest resident set, or what CUDA held at most.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

PARTS = ("seconds", "cpu", "rollout", "scoring", "training")
ROWS = {  # expert, teacher, self
    "self": (0, 0, 6),
    "paper": (1, 3, 4),
}
SMALL_MICRO_BATCH = 2  # groups
REWARD = {"name": "length", "min_chars": 2000, "max_chars": None}  # graded up to any length here
RATE = 1e-6


def make_config(asked: argparse.Namespace) -> Any:
    from gft_lite.config import load_config

    expert, teacher, own = ROWS[asked.row]
    return load_config(
        preset="tiny-cpu",
        overrides=[
            f"model.name={asked.model}",
            "data.eval_path=null",
            "data.retention_path=null",
            f"group.expert={expert}",
            f"group.teacher={teacher}",
            f"group.self={own}",
            f"group.max_new_tokens={asked.max_new_tokens}",
            f"train.steps={asked.steps + 1}",
            f"train.prompts_per_step={asked.prompts}",
            f"train.learning_rate={RATE}",
            f"train.rollout_batch={asked.prompts * (expert + teacher + own)}",
            "train.checkpoint_every=0",
            "train.log_kl_every=0",
            "train.log_groups_every=0",
            *(f"reward.{name}={json.dumps(value)}" for name, value in REWARD.items()),
        ],
    )


def ours(asked: argparse.Namespace, folder: Path) -> list[dict[str, float]]:
    """The events of our own trainer."""
    from gft_lite.models import load_policy
    from gft_lite.preflight.inputs import validate_inputs
    from gft_lite.runs import RunDir
    from gft_lite.training.trainer import Trainer

    config = make_config(asked)
    policy = load_policy(config.model, config.lora, seed=0)
    prepared = validate_inputs(config)
    with prepared.scorer as scorer:
        run = RunDir.create(folder / "run", config.to_yaml())
        trainer = Trainer(config, policy, prepared.examples, scorer, run)
        steps, started = [], time.process_time()
        for event in trainer.steps():
            if event["type"] != "step":
                continue
            cpu, started = time.process_time() - started, time.process_time()
            steps.append(
                {
                    "seconds": event["seconds"],
                    "cpu": cpu,
                    "rollout": event["rollout_seconds"],
                    "scoring": event["scoring_seconds"],
                    "training": event["seconds"]
                    - event["rollout_seconds"]
                    - event["scoring_seconds"],
                    "responses": event["trained_responses"],
                    "tokens": event["trained_tokens"],
                    "answer_tokens": event["self_response_tokens"],
                }
            )
    return steps


def trl(asked: argparse.Namespace, folder: Path) -> list[dict[str, float]]:
    """TRL's trainer on the same policy object, timed from outside."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from gft_lite.models import load_policy
    from gft_lite.preflight.inputs import validate_inputs
    from gft_lite.rewards import target_of
    from gft_lite.training.rollout import prompts_of_step

    config = make_config(asked)
    policy: Any = load_policy(config.model, config.lora, seed=0)
    policy.model.generation_config.eos_token_id = list(policy.chat.stop_ids)
    prepared = validate_inputs(config)
    train = config.train
    examples = [
        example
        for step in range(train.steps)
        for example in prompts_of_step(prepared.examples, step, train.prompts_per_step, train.seed)
    ]
    rows = [
        {
            "prompt": [{"role": m.role, "content": m.content} for m in example.prompt],
            "place": place,
        }
        for place, example in enumerate(examples)
    ]
    targets = [target_of(example) for example in examples]
    steps: list[dict[str, float]] = []

    def reward(completions: list[Any], place: list[int], **_: Any) -> list[float]:
        texts = [turns[-1]["content"] for turns in completions]
        pairs = [(text, targets[i]) for text, i in zip(texts, place, strict=True)]
        return [score.value for score in prepared.scorer.score(pairs)]

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            steps.append(dict.fromkeys((*PARTS, "responses", "tokens", "answer_tokens"), 0.0))
            self.started, self.cpu = time.perf_counter(), time.process_time()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            _wait()
            now = steps[-1]
            now["seconds"] = time.perf_counter() - self.started
            now["cpu"] = time.process_time() - self.cpu
            now["training"] = now["seconds"] - now["rollout"] - now["scoring"]

    responses = train.prompts_per_step * sum(ROWS[asked.row])
    micro = responses if asked.side == "trl-whole" else SMALL_MICRO_BATCH * sum(ROWS[asked.row])
    on_gpu = torch.cuda.is_available()
    with prepared.scorer:
        trainer = GRPOTrainer(
            model=policy.model,
            reward_funcs=reward,
            args=GRPOConfig(
                output_dir=str(folder),
                max_steps=train.steps,
                per_device_train_batch_size=micro,
                gradient_accumulation_steps=responses // micro,
                num_generations=sum(ROWS[asked.row]),
                max_completion_length=asked.max_new_tokens,
                shuffle_dataset=False,
                learning_rate=RATE,
                lr_scheduler_type="constant",
                beta=0.0,
                temperature=1.0,
                top_p=1.0,
                top_k=0,
                gradient_checkpointing=False,
                bf16=on_gpu,
                use_cpu=not on_gpu,
                report_to="none",
                save_strategy="no",
                logging_steps=1,
                disable_tqdm=True,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=policy.tokenizer,
            callbacks=[Clock()],
        )

        def counted(generated: Any) -> None:
            lengths = [len(ids) for ids in generated[1]]
            steps[-1]["responses"] += len(lengths)
            steps[-1]["tokens"] += sum(lengths)
            steps[-1]["answer_tokens"] = statistics.fmean(lengths)

        _time(trainer, "_generate", lambda s: _add(steps, "rollout", s), counted)
        _time(trainer, "_calculate_rewards", lambda s: _add(steps, "scoring", s))
        with contextlib.redirect_stdout(sys.stderr):
            trainer.train()
    return steps


def _add(steps: list[dict[str, float]], part: str, seconds: float) -> None:
    steps[-1][part] += seconds


def _time(
    owner: Any,
    name: str,
    tell: Callable[[float], None],
    look: Callable[[Any], None] = lambda result: None,
) -> None:
    """Tell the seconds of every call of a method of this one object."""
    method = getattr(owner, name)

    def timed(*positional: Any, **named: Any) -> Any:
        started = time.perf_counter()
        result = method(*positional, **named)
        _wait()
        tell(time.perf_counter() - started)
        look(result)
        return result

    setattr(owner, name, timed)


def _wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _peak_mib() -> float:
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(asked: argparse.Namespace) -> dict[str, Any]:
    """One side, in this process."""
    run = trl if asked.side.startswith("trl") else ours
    with tempfile.TemporaryDirectory() as folder:
        steps = run(asked, Path(folder))[1:]
    found = {name: statistics.median(step[name] for step in steps) for name in PARTS}
    for name in ("responses", "tokens", "answer_tokens"):
        found[name] = statistics.fmean(step[name] for step in steps)
    return {name: round(value, 4) for name, value in found.items()} | {"peak_mib": _peak_mib()}


def rounds_of(asked: argparse.Namespace, row: str) -> Iterator[dict[str, dict[str, Any]]]:
    """Side → what it measured, once a round."""
    here = str(Path(__file__).resolve().parents[1])
    checkouts = dict(text.split("=", 1) for text in asked.checkout)
    sides = {"ours": here, "trl-whole": here, "trl-small": here, **checkouts}
    passed = [
        text
        for name in ("model", "steps", "prompts", "max_new_tokens")
        for text in (f"--{name.replace('_', '-')}", str(getattr(asked, name)))
    ]
    for _ in range(asked.rounds):
        found: dict[str, dict[str, Any]] = {}
        for side, checkout in sides.items():
            done = subprocess.run(
                [sys.executable, __file__, *passed, "--row", row, "--side", side, "--out", "-"],
                check=True,
                stdout=subprocess.PIPE,
                env={**os.environ, "PYTHONPATH": checkout, "HF_HUB_OFFLINE": "1"},
            )
            found[side] = json.loads(done.stdout)
            print(f"{row:6} {side:10} {found[side]}", file=sys.stderr, flush=True)
        yield found


def compare(asked: argparse.Namespace, row: str) -> dict[str, Any]:
    """All rounds of a row, medians, and the ratio of ours to every other side."""
    rounds = list(rounds_of(asked, row))
    sides = list(rounds[0])
    medians = {
        side: {
            name: round(statistics.median(found[side][name] for found in rounds), 4)
            for name in rounds[0][side]
        }
        for side in sides
    }

    def ratio(name: str, other: str) -> float:
        return round(statistics.median(r["ours"][name] / r[other][name] for r in rounds), 3)

    ratios = {
        other: {
            name: ratio(name, other)
            for name in ("seconds", "cpu", "rollout", "training", "peak_mib")
        }
        for other in sides
        if other != "ours"
    }
    fastest = min((s for s in sides if s.startswith("trl")), key=lambda s: medians[s]["seconds"])
    return {
        "ours_to_fastest_trl": ratios[fastest]["seconds"],
        "ratios_of_ours_to": ratios,
        "medians": medians,
        "rounds": rounds,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--row", choices=ROWS, help="only this row")
    parser.add_argument("--steps", type=int, default=10, help="measured steps a process")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompts", type=int, default=8, help="a step")
    parser.add_argument("--max-new-tokens", type=int, default=96)
    parser.add_argument(
        "--checkout",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="measure our trainer of another checkout as well",
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(measure(asked)))
        return
    import torch

    result: dict[str, Any] = {
        "rows": {},
        "settings": {
            name: getattr(asked, name)
            for name in ("model", "steps", "rounds", "prompts", "max_new_tokens")
        }
        | {"groups": ROWS, "reward": REWARD, "learning_rate": RATE},
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "trl")},
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }
    for row in [asked.row] if asked.row else ROWS:
        found = result["rows"][row] = compare(asked, row)
        asked.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"{row}: our step takes {found['ours_to_fastest_trl']} of TRL's faster one")
        print(json.dumps(found["ratios_of_ours_to"], indent=1), flush=True)


if __name__ == "__main__":
    main()
