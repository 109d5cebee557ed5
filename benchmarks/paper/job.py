"""One training run of the experiments, in a process of its own: `python job.py '{"variant": …}'`.

Prints one JSON document: the final figures and what the run looked like on the way. Its run
directory stays in the work folder, for pipelines that continue it and for pass@k.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

from variants import VARIANTS, Variant

from gft_lite.config import RunConfig, load_config

PRESET = "tiny-cpu"
CURVE_POINTS = 5
SEEDS_APART = 1000  # from stage to stage of a pipeline, as in `gft_lite.config.stages`
PASS_PROMPTS, PASS_SAMPLES = 40, 128
SHORTCUTS = 0.7  # of the demonstrations that leave out the last step
Row = dict[str, Any]


def train_one(variant: Variant, seed: int, rate: float, start: Path | None, work: Path) -> Row:
    """Train one variant and measure it.

    Args:
        variant: what to train.
        seed: of adapter, order of prompts and sampling.
        rate: learning rate.
        start: run whose adapter is continued, None for a fresh adapter.
        work: folder for run directories and data files.
    """
    from gft_lite.training.worker import train

    config = settings(variant, seed, rate, start, work)
    out = run_dir(variant, seed, rate, work)
    if out.exists():  # of a job that was killed
        shutil.rmtree(out)
    curve = Curve(time.process_time)
    result = train(config, out, on_event=curve.add)
    final = result.metrics
    return {
        "target_greedy": final["target"]["greedy_accuracy"],
        "target_mean_at_8": final["target"]["mean_at_k"],
        "target_pass_at_8": final["target"]["pass_at_k"],
        "old_skill_greedy": final["old_skill"]["greedy_accuracy"],
        "kl_nats_per_token": final["drift"]["kl_nats_per_token"],
        "train_cpu_seconds": round(curve.seconds, 1),
        "trained_tokens": curve.trained_tokens,
        "trained_responses": curve.trained_responses,
        "curve": curve.points,
        "end": curve.end,
    }


def settings(variant: Variant, seed: int, rate: float, start: Path | None, work: Path) -> RunConfig:
    """The whole configuration of such a run."""
    overrides = [
        f"method.name={variant.method}",
        f"data.path={data_file(variant.data, work)}",
        "data.eval_path=embedded:target_test",
        "data.retention_path=embedded:old_skill_test",
        f"train.learning_rate={rate}",
        "train.schedule=constant",  # as in every recorded run, whatever the preset has
        f"train.steps={variant.steps}",
        f"train.seed={seed + SEEDS_APART * stage_of(variant)}",
        f"eval.every={variant.steps // CURVE_POINTS}",
        "train.checkpoint_every=0",
        "train.log_groups_every=0",
        *variant.settings,
    ]
    if start:
        overrides.append(f"model.adapter={start / 'adapter'}")
    return load_config(preset=PRESET, overrides=overrides)


class Curve:
    """What a run looked like on the way: a point at every evaluation, costs without evaluations.

    end: means over the steps between the last point and the end of training.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock, self._last = clock, clock()
        self.seconds, self.trained_tokens, self.trained_responses = 0.0, 0, 0
        self.points: list[Row] = []
        self.end: Row = {}
        self._steps: list[Row] = []

    def add(self, event: Row) -> None:
        """Take an event of the run."""
        now = self._clock()
        if event["type"] == "step":
            self.seconds += now - self._last
            self.trained_tokens += event["trained_tokens"]
            self.trained_responses += event["trained_responses"]
            self._steps.append(event)
        elif event["type"] == "eval" and event.get("final"):
            self.end = self._means()
        elif event["type"] == "eval":
            self.points.append(
                {
                    "step": event["step"],
                    "cpu_seconds": round(self.seconds, 1),
                    "trained_tokens": self.trained_tokens,
                    "target_quick": event["target"]["greedy_accuracy"],
                    "old_skill_quick": event["old_skill"]["greedy_accuracy"],
                    **self._means(),
                }
            )
            self._steps = []
        self._last = now

    def _means(self) -> Row:
        """Means over the steps since the last point."""
        names = (
            "reward_self",
            "kl_nats_per_token",
            "entropy_nats_per_token",
            "rectified_fraction",
            "rectified_fraction_expert",
            "rectified_fraction_self",
        )
        found = {name: [s[name] for s in self._steps if name in s] for name in names}
        return {name: round(statistics.fmean(v), 4) for name, v in found.items() if v}


def stage_of(variant: Variant) -> int:
    """How many stages come before it."""
    return 0 if variant.start is None else 1 + stage_of(VARIANTS[variant.start])


def run_dir(variant: Variant, seed: int, rate: float, work: Path) -> Path:
    """Where a run lies."""
    return work / "runs" / f"{variant.name}-{rate:g}-seed{seed}"


def measure_passes(
    adapter: Path | None, prompts: int = PASS_PROMPTS, samples: int = PASS_SAMPLES
) -> Row:
    """mean@k and pass@k for k up to `samples`, on the first held-out problems."""
    from gft_lite.config import DataConfig, ModelConfig
    from gft_lite.evaluation.accuracy import evaluate
    from gft_lite.models import load_policy
    from gft_lite.preflight.filters import load_rows
    from gft_lite.rewards import build_scorer

    path = "embedded:target_test"
    examples = load_rows(path, DataConfig(path=path, limit=prompts)).examples
    policy = load_policy(ModelConfig(adapter=str(adapter) if adapter else None), None)
    with build_scorer("math") as scorer:
        found = evaluate(policy, examples, scorer, k=samples, max_new_tokens=192, batch=256)
    return {
        "prompts": len(examples),
        "samples": samples,
        "mean_at_128": found.mean_at_k,
        "pass_at": found.to_dict()["pass_at"],
    }


def data_file(name: str, work: Path) -> str:
    """The training file of a variant; made in the work folder where it does not ship."""
    from gft_lite.assets import resolve

    if name == "shipped":
        return "embedded:target_train"
    if name == "clean":
        return "embedded:target_train_clean"
    rows = [
        json.loads(line)
        for line in Path(resolve("embedded:target_train")).read_text(encoding="utf-8").splitlines()
    ]
    kind, _, count = name.partition("-")
    if kind == "shortcut":
        rows = with_shortcuts(len(rows))
        if count == "verified":
            rows = only_right(rows)
    elif kind == "demos":  # the other prompts keep their answer only
        rows = [
            row if i < int(count) else {"prompt": row["prompt"], "answer": row["answer"]}
            for i, row in enumerate(rows)
        ]
    else:
        rows = with_wrong_experts(rows, int(count) / 100)
    path = work / f"{name}.jsonl"
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return str(path)


def with_wrong_experts(rows: list[Row], share: float) -> list[Row]:
    """More experts wrong, up to a share: a slip in the last step of right ones."""
    rng = Random("wrong experts")
    is_right = [row["expert"].endswith(f"#### {row['answer']}") for row in rows]
    right = [i for i, good in enumerate(is_right) if good]
    missing = round(share * len(rows)) - (len(rows) - len(right))
    for i in rng.sample(right, missing):
        row = rows[i]
        slipped = str(int(row["answer"]) + rng.choice((-10, -2, -1, 1, 2, 10)))
        head, last, _ = row["expert"].rsplit("\n", 2)[-3:]
        before, equals, after = last.rpartition(f"={row['answer']}")
        assert equals, row["expert"]
        rows[i] = {**row, "expert": f"{head}\n{before}={slipped}{after}\n#### {slipped}"}
    return rows


def with_shortcuts(count: int) -> list[Row]:
    """New problems, of whose demonstrations most leave out the last step."""
    sys.path.append(str(Path(__file__).parents[2] / "scripts"))
    from tiny_problems import TEACHER_STYLES, Story, expert_response, make_story

    rng = Random("shortcuts")

    def told(story: Story) -> Story:
        return replace(story, parts=story.parts[:-1]) if rng.random() < SHORTCUTS else story

    rows: list[Row] = []
    while len(rows) < count:
        story = make_story(rng, 3)
        if story.parts[-2].after == story.answer:  # left out or not, the answer is right
            continue
        teachers = [style(told(story)) for style in rng.sample(TEACHER_STYLES, 3)]
        expert = expert_response(told(story))
        answer = str(story.answer)
        rows.append(
            {"prompt": story.prompt, "expert": expert, "teachers": teachers, "answer": answer}
        )
    return rows


def only_right(rows: list[Row]) -> list[Row]:
    """What a verifier lets pass: right demonstrations, the first of them as the expert's."""
    kept = []
    for row in rows:
        told = [row["expert"], *row["teachers"]]
        right = [text for text in told if text.endswith(f"#### {row['answer']}")]
        if right:
            kept.append({**row, "expert": right[0], "teachers": right[1:]})
    return kept


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    folder = Path(asked["work"])
    if asked["kind"] == "passes":
        row = measure_passes(Path(asked["adapter"]) if asked["adapter"] else None)
    else:
        begin = Path(asked["start"]) if asked["start"] else None
        chosen = VARIANTS[asked["variant"]]
        row = train_one(chosen, asked["seed"], asked["learning_rate"], begin, folder)
    print(json.dumps(row))
