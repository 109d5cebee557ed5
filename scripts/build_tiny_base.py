"""Build the embedded demo model and its data from a seed.

    python scripts/build_tiny_base.py --seed 0 --out gft_lite/assets

writes, all from generated text (`tiny_problems.py`):

    tiny_base/                 a Qwen2-architecture language model with its tokenizer
    target_train.jsonl         target problems; a part of the expert solutions is wrong
    target_train_clean.jsonl   the same problems, every expert right
    target_test.jsonl          held-out target problems
    old_skill_test.jsonl       held-out problems of the skill the base has
    build.json                 seed, versions, parameters, measured accuracies, seconds
    README.md                  the card of all this, with the measured numbers

The base is trained on response tokens only. No prompt of the four files is ever trained on. The
weights are stored in float16 and meant to be computed with in float32, which is what the stored
`config.json` asks for; the accuracies are measured on the model as loaded from the stored files.
Everything is built in a temporary directory and moved into place at the end.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random

import tokenizers
import torch
import transformers
from tiny_problems import Task, make_base_task, make_target_row, make_test_row
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Tokenizer,
)

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
N_TRAIN, N_TEST = 400, 200
WRONG_EXPERT_SHARE, RIGHT_TEACHER_SHARE = 0.2, 0.63
MAX_NEW_TOKENS = 80


@dataclass(frozen=True)
class Recipe:
    """How the base is made; written into build.json."""

    seed: int = 0
    steps: int = 1100
    tokens_per_step: int = 4000
    muon_learning_rate: float = 5.0e-3
    adamw_learning_rate: float = 2.0e-3
    warmup_steps: int = 100
    weight_decay: float = 0.1
    largest_vocabulary: int = 768
    hidden_size: int = 256
    intermediate_size: int = 640
    layers: int = 4
    heads: int = 8
    kv_heads: int = 2
    max_position_embeddings: int = 2048


# --- data --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DataFiles:
    """The rows of the four data files."""

    target_train: list[dict]
    target_train_clean: list[dict]
    target_test: list[dict]
    old_skill_test: list[dict]

    def prompts(self) -> set[str]:
        """Every prompt that the base must not be trained on."""
        rows = [*self.target_train, *self.target_test, *self.old_skill_test]
        return {row["prompt"] for row in rows}


def make_data(seed: int) -> DataFiles:
    """All rows, no prompt twice; exactly the stated share of the experts is wrong."""
    rng = Random(f"data-{seed}")
    seen: set[str] = set()

    def unseen(make) -> dict:
        while True:
            row = make()
            if row["prompt"] not in seen:
                seen.add(row["prompt"])
                return row

    wrong = set(rng.sample(range(N_TRAIN), round(N_TRAIN * WRONG_EXPERT_SHARE)))
    train, clean = [], []
    for i in range(N_TRAIN):
        row = unseen(lambda i=i: make_target_row(rng, i in wrong, RIGHT_TEACHER_SHARE))
        right_expert = row.pop("right_expert")
        train.append(row)
        clean.append({**row, "expert": right_expert})
    return DataFiles(
        target_train=train,
        target_train_clean=clean,
        target_test=[unseen(lambda: make_test_row(rng, 3)) for _ in range(N_TEST)],
        old_skill_test=[unseen(lambda: make_test_row(rng, 1)) for _ in range(N_TEST)],
    )


def write_jsonl(path: Path, rows: list[dict]) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def final_number(text: str) -> str | None:
    """What follows the last `####`, or None."""
    _, mark, tail = text.rpartition("####")
    return tail.strip() if mark else None


def right_share(texts_and_answers: list[tuple[str, str]]) -> float:
    """Share of the texts whose final number is the answer."""
    return sum(final_number(t) == a for t, a in texts_and_answers) / len(texts_and_answers)


# --- tokenizer ---------------------------------------------------------------------------------


def train_tokenizer(recipe: Recipe, rows: list[dict]) -> Qwen2Tokenizer:
    """Byte-level BPE on generated text: every digit is one token, nothing is ever unknown.

    `AutoTokenizer` gives every model of type qwen2 a `Qwen2Tokenizer`, with that class's own way to
    cut text into pieces. So the merges are learnt on exactly those pieces.
    """
    rng = Random(f"tokenizer-{recipe.seed}")
    texts = [row["prompt"] for row in rows]
    texts += [text for row in rows for text in (row["expert"], *row["teachers"])]
    for _ in range(20_000):
        task = make_base_task(rng)
        texts += [task.prompt, task.response]
    bpe = Tokenizer(models.BPE())
    qwen = Qwen2Tokenizer().backend_tokenizer
    bpe.normalizer, bpe.pre_tokenizer = qwen.normalizer, qwen.pre_tokenizer
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.largest_vocabulary,
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    bpe.train_from_iterator([*texts, *["system\nuser\nassistant\n"] * 100], trainer)
    learnt = json.loads(bpe.to_str())["model"]
    return Qwen2Tokenizer(
        vocab=learnt["vocab"],
        merges=[tuple(merge) for merge in learnt["merges"]],
        unk_token=PAD,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[START],
        chat_template=CHAT_TEMPLATE,
        model_max_length=recipe.max_position_embeddings,
        padding_side="left",
    )


def check_stored_tokenizer(tokenizer: Qwen2Tokenizer, folder: Path, texts: list[str]) -> None:
    """Raise unless the tokenizer, loaded as users load it, gives the ids it gave in training."""
    stored = AutoTokenizer.from_pretrained(folder)
    for text in texts:
        if stored(text)["input_ids"] != tokenizer(text)["input_ids"]:
            raise RuntimeError(f"the stored tokenizer reads this text differently: {text!r}")
        if stored.decode(stored(text)["input_ids"]) != text:
            raise RuntimeError(f"the stored tokenizer does not give this text back: {text!r}")


# --- training ----------------------------------------------------------------------------------


def chat_prompt(tokenizer: Qwen2Tokenizer, prompt: str) -> str:
    """The prompt as the model sees it, up to where its answer starts."""
    messages = [{"role": "user", "content": prompt}]
    return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)


@dataclass(frozen=True)
class TokenBatch:
    """Right-padded sequences; labels are -100 outside responses."""

    input_ids: torch.Tensor  # (B, T)
    labels: torch.Tensor  # (B, T)


def token_batches(
    tokenizer: Qwen2Tokenizer, recipe: Recipe, held_out: set[str]
) -> Iterator[TokenBatch]:
    """An endless stream of batches of sequences of like length, about `tokens_per_step` each."""
    rng = Random(f"train-{recipe.seed}")
    while True:
        tasks: list[Task] = []
        while len(tasks) < 8192:
            task = make_base_task(rng)
            if task.prompt not in held_out:
                tasks.append(task)
        prompts = tokenizer([chat_prompt(tokenizer, t.prompt) for t in tasks])["input_ids"]
        responses = tokenizer([t.response + END for t in tasks])["input_ids"]
        pairs = sorted(zip(prompts, responses, strict=True), key=lambda p: len(p[0]) + len(p[1]))
        batches, batch = [], []
        for prompt, response in pairs:
            batch.append((prompt, response))
            longest = len(prompt) + len(response)  # the pairs come in order of length
            if len(batch) * longest >= recipe.tokens_per_step:
                batches.append(pad_right(batch, tokenizer.pad_token_id))
                batch = []
        rng.shuffle(batches)
        yield from batches


def pad_right(batch: list[tuple[list[int], list[int]]], pad_id: int) -> TokenBatch:
    """(prompt ids, response ids) pairs to one batch."""
    longest = max(len(p) + len(r) for p, r in batch)
    input_ids = torch.full((len(batch), longest), pad_id)
    labels = torch.full((len(batch), longest), -100)
    for row, (prompt, response) in enumerate(batch):
        end = len(prompt) + len(response)
        input_ids[row, :end] = torch.tensor(prompt + response)
        labels[row, len(prompt) : end] = torch.tensor(response)
    return TokenBatch(input_ids, labels)


def learning_rate_factor(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine down to a fiftieth."""
    if step < recipe.warmup_steps:
        return (step + 1) / recipe.warmup_steps
    done = (step - recipe.warmup_steps) / max(1, recipe.steps - recipe.warmup_steps)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def new_model(tokenizer: Qwen2Tokenizer, recipe: Recipe) -> Qwen2ForCausalLM:
    """A freshly initialised model of the recipe's size, in float32."""
    torch.manual_seed(recipe.seed)
    config = Qwen2Config(
        vocab_size=len(tokenizer),
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.kv_heads,
        max_position_embeddings=recipe.max_position_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": 10_000.0},
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return Qwen2ForCausalLM(config)


def make_optimizers(model: Qwen2ForCausalLM, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the layers, AdamW for embeddings, norms and biases."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        inside = parameter.ndim == 2 and "embed_tokens" not in name
        (matrices if inside else others).append(parameter)
    muon = torch.optim.Muon(
        matrices,
        lr=recipe.muon_learning_rate,
        weight_decay=recipe.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    adamw = torch.optim.AdamW(
        others, lr=recipe.adamw_learning_rate, betas=(0.9, 0.95), weight_decay=0.0
    )
    return [muon, adamw]


def train(model: Qwen2ForCausalLM, batches: Iterator[TokenBatch], recipe: Recipe) -> None:
    """Plain next-token training in bfloat16 autocast; attention is causal and padding is on the
    right, so no attention mask is needed."""
    optimizers = make_optimizers(model, recipe)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(o, lambda step: learning_rate_factor(step, recipe))
        for o in optimizers
    ]
    model.train()
    started = time.monotonic()
    for step in range(1, recipe.steps + 1):
        batch = next(batches)
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(input_ids=batch.input_ids, labels=batch.labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for part in (*optimizers, *schedules):
            part.step()
        model.zero_grad()
        if step % 100 == 0:
            seconds = time.monotonic() - started
            print(
                f"step {step}/{recipe.steps}  loss {loss.item():.4f}  {seconds:.0f} s", flush=True
            )


# --- measuring ---------------------------------------------------------------------------------


@torch.no_grad()
def accuracy(model, tokenizer, rows: list[dict], n_samples: int = 0) -> float:
    """Greedy accuracy, or with `n_samples` mean@n at temperature 1 (no top-k, no top-p)."""
    model.eval()
    scored: list[tuple[str, str]] = []
    sampling = GenerationConfig(
        do_sample=n_samples > 0,
        num_return_sequences=max(1, n_samples),
        **({"temperature": 1.0, "top_k": 0, "top_p": 1.0} if n_samples else {}),
        max_new_tokens=MAX_NEW_TOKENS,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    for first in range(0, len(rows), 50):
        chunk = rows[first : first + 50]
        texts = [chat_prompt(tokenizer, row["prompt"]) for row in chunk]
        inputs = tokenizer(texts, return_tensors="pt", padding=True)
        out = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            generation_config=sampling,
        )
        replies = tokenizer.batch_decode(
            out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        answers = [row["answer"] for row in chunk for _ in range(max(1, n_samples))]
        scored += zip(replies, answers, strict=True)
    return right_share(scored)


def measure(model_dir: Path, data: DataFiles, seed: int) -> dict[str, float]:
    """Accuracies of the model as stored."""
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModelForCausalLM.from_pretrained(model_dir)
    assert model.dtype == torch.float32, "config.json must ask for float32"
    torch.manual_seed(seed)
    return {
        "old_skill_greedy": accuracy(model, tokenizer, data.old_skill_test),
        "old_skill_mean@8": accuracy(model, tokenizer, data.old_skill_test, 8),
        "target_greedy": accuracy(model, tokenizer, data.target_test),
        "target_mean@8": accuracy(model, tokenizer, data.target_test, 8),
    }


# --- writing -----------------------------------------------------------------------------------


def save_model(model: Qwen2ForCausalLM, tokenizer: Qwen2Tokenizer, folder: Path) -> None:
    """float16 weights, a config that asks for float32, and a greedy generation config."""
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    GenerationConfig(
        do_sample=False,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    ).save_pretrained(folder)
    config_path = folder / "config.json"
    config = json.loads(config_path.read_text())
    config["dtype"] = "float32"
    config_path.write_text(json.dumps(config, indent=2) + "\n")


def token_lengths(tokenizer: Qwen2Tokenizer, texts: list[str]) -> dict[str, float]:
    """Mean and longest token count."""
    lengths = [len(ids) for ids in tokenizer(texts)["input_ids"]]
    return {"mean": round(sum(lengths) / len(lengths), 1), "max": max(lengths)}


def card(report: dict) -> str:
    """README.md of the assets, from what build.json says."""
    percent = {name: f"{100 * value:.1f} %" for name, value in report["accuracy"].items()}
    return f"""# The demo model and its data

A demo model: every part of gft-lite, training included, can be tried with it in minutes
without a GPU or a download. It knows only small generated word problems. Licence: Apache-2.0.

`python scripts/build_tiny_base.py --seed {report["recipe"]["seed"]} \\
--steps {report["recipe"]["steps"]} --threads {report["threads"]} --out gft_lite/assets`
built it in {report["seconds"]} seconds, from generated text only.

`tiny_base/` is a Qwen2-architecture language model of {report["parameters"] / 1e6:.2f} M parameters
with a byte-level BPE tokenizer of {report["vocabulary"]} tokens, one a digit. The weights are
stored in float16 ({report["weights_bytes"] / 1e6:.1f} MB) and load as float32. It was trained on
one-step word problems, most of them answered in one bare line and some in the experts' and
teachers' words, and on pieces of longer ones (sums, chains of sums, finding a number in a story,
a few two-step problems), never on a three-step problem with its solution.

| measured on 200 held-out problems each | greedy | mean@8, temperature 1 |
|---|---|---|
| old skill: one step | {percent["old_skill_greedy"]} | {percent["old_skill_mean@8"]} |
| target skill: three steps | {percent["target_greedy"]} | {percent["target_mean@8"]} |

| file | rows | what |
|---|---|---|
| `target_train.jsonl` | {N_TRAIN} | target problems, one expert and three teacher solutions each; \
{100 * (1 - report["right_experts"]):.0f} % of the experts and \
{100 * (1 - report["right_teachers"]):.0f} % of the teachers are wrong on purpose |
| `target_train_clean.jsonl` | {N_TRAIN} | the same problems, every expert right |
| `target_test.jsonl` | {N_TEST} | held-out target problems |
| `old_skill_test.jsonl` | {N_TEST} | held-out old-skill problems |

A wrong solution holds one mistake (a slip, plus and minus confused, for teachers also a forgotten
event) and is consistent from there on. `answer` is always the true one.
"""


def replace_into(source: Path, out: Path) -> None:
    """Move every file and folder of `source` into `out`, each by one rename."""
    out.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.iterdir()):
        old = out / path.name
        if old.is_dir():
            aside = source / f"{path.name}.old"
            old.replace(aside)
        path.replace(old)


def build(recipe: Recipe, out: Path) -> dict:
    """Make everything, move it to `out`, and return what build.json says."""
    started = time.monotonic()
    data = make_data(recipe.seed)
    tokenizer = train_tokenizer(recipe, data.target_train)
    model = new_model(tokenizer, recipe)
    n_parameters = sum(p.numel() for p in model.parameters())
    print(f"{n_parameters / 1e6:.2f} M parameters, {len(tokenizer)} tokens", flush=True)
    train(model, token_batches(tokenizer, recipe, data.prompts()), recipe)

    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=".building-") as temporary:
        folder = Path(temporary)
        save_model(model, tokenizer, folder / "tiny_base")
        for name, rows in vars(data).items():
            write_jsonl(folder / f"{name}.jsonl", rows)
        (folder / "tiny_base" / "model.safetensors").chmod(0o644)
        rows = data.target_train
        check_stored_tokenizer(
            tokenizer,
            folder / "tiny_base",
            [
                *(chat_prompt(tokenizer, prompt) for prompt in sorted(data.prompts())),
                *(text for row in rows for text in (row["expert"], *row["teachers"])),
                "Überall: 3½ × 12 = 42 … 你好 🙂\n\tend",
            ],
        )
        teachers = [(t, row["answer"]) for row in rows for t in row["teachers"]]
        report = {
            "recipe": asdict(recipe),
            "parameters": n_parameters,
            "vocabulary": len(tokenizer),
            "weights_bytes": (folder / "tiny_base" / "model.safetensors").stat().st_size,
            "accuracy": measure(folder / "tiny_base", data, recipe.seed),
            "right_experts": right_share([(row["expert"], row["answer"]) for row in rows]),
            "right_teachers": right_share(teachers),
            "target_prompt_tokens": token_lengths(
                tokenizer, [chat_prompt(tokenizer, row["prompt"]) for row in rows]
            ),
            "expert_tokens": token_lengths(tokenizer, [row["expert"] for row in rows]),
            "teacher_tokens": token_lengths(tokenizer, [text for text, _ in teachers]),
            "versions": {
                "python": platform.python_version(),
                "torch": torch.__version__,
                "transformers": transformers.__version__,
                "tokenizers": tokenizers.__version__,
            },
            "threads": torch.get_num_threads(),
            "seconds": round(time.monotonic() - started),
        }
        (folder / "build.json").write_text(json.dumps(report, indent=2) + "\n")
        (folder / "README.md").write_text(card(report))
        replace_into(folder, out)
    return report


def main() -> None:
    """Read the options, build, print the accuracies."""
    parser = argparse.ArgumentParser(description="Build the embedded demo model and its data.")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--out", type=Path, default=Path("gft_lite/assets"))
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    report = build(Recipe(seed=options.seed, steps=options.steps), options.out)
    print(f"\nwritten to {options.out} in {report['seconds']} s")
    for name, value in report["accuracy"].items():
        print(f"{name:20} {100 * value:6.1f} %")


if __name__ == "__main__":
    main()
