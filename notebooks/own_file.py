# %% [markdown]
# # Your own file: from rows to an adapter you have looked at
#
# Check the file, fix it, see one row as the model will see it, score the answers it already has,
# train, compare, export. Set `FILE` (and `MODEL`) below and run all cells.
#
# With `SMOKE = True` a small broken file is made up and the embedded demo model is trained: no
# GPU, no network, a few minutes. A test runs the notebook that way at every change.

# %%
import os

SMOKE = os.environ.get("SMOKE") == "1"

SOURCE = ""  # what pip installs, where it is not installed yet: see gft_lite_colab.ipynb
FILE = "problems.csv"  # CSV, JSON, JSON Lines, Parquet, Excel, a folder, or a hub name
MAP = {}  # only where columns are not recognised: {"prompt": "question", "expert": "worked_out"}
MODEL = "Qwen/Qwen2.5-1.5B-Instruct"
FOUR_BIT = True
REWARD = "math"  # decides what is right: math, number, exact, choice, regex, json, length, overlap
STEPS = 100

if SMOKE:
    MODEL, FOUR_BIT, STEPS = "tiny", False, 3

# %%
import subprocess
import sys

if SOURCE and not SMOKE:
    subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", SOURCE])

# %% [markdown]
# With `SMOKE`, this cell makes the file: a CSV of word problems with columns named in its own
# way, one row without an answer's text, one twice, and one whose expert is wrong.

# %%
import csv
from pathlib import Path

from gft_lite import load_examples
from gft_lite.assets import resolve

WORK = Path("gft-lite-own-file")
WORK.mkdir(exist_ok=True)

if SMOKE:
    FILE, MAP = (
        str(WORK / "problems.csv"),
        {"prompt": "aufgabe", "expert": "rechnung", "answer": "wert"},
    )
    embedded = load_examples(resolve("embedded:target_train_clean"), limit=24).examples
    rows = [[e.question, e.experts[0], e.answer] for e in embedded]
    rows.append(rows[0])
    rows.append([rows[1][0] + " Think first.", "", ""])
    rows.append([rows[2][0] + " Think first.", "1 + 1 = 2\n#### 2", "99"])
    with Path(FILE).open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["aufgabe", "rechnung", "wert"], *rows])

# %% [markdown]
# ## 1 · Check
#
# What was recognised, how long things are, which rows cannot be used and which are doubtful. The
# reward is asked about every expert.

# %%
from IPython.display import display

from gft_lite.data import check_file, fix_file
from gft_lite.preflight.reward_check import row_scorer
from gft_lite.report import notebook
from gft_lite.rewards import build_scorer

with build_scorer(REWARD) as scorer:
    report = check_file(FILE, columns=MAP, row_scorer=row_scorer(scorer), reward=REWARD)
display(notebook.data(report))

# %% [markdown]
# ## 2 · Fix
#
# Clean rows go into one file, the others with a reason into another. Experts that the reward
# rejects are left out here: GFT would train against them and SFT would imitate them. Look at them
# first.

# %%
CLEAN = WORK / "clean.jsonl"

for old in (CLEAN, WORK / "clean.left_out.jsonl"):
    old.unlink(missing_ok=True)
with build_scorer(REWARD) as scorer:
    fixed = fix_file(FILE, CLEAN, columns=MAP, row_scorer=row_scorer(scorer), drop_rejected=True)
print(
    f"{fixed.rows} rows read, {fixed.written} written, {fixed.joined} joined, "
    f"{fixed.left_out} left out"
)
print(fixed.left_out_file.read_text(encoding="utf-8"))

# %% [markdown]
# A part of the clean rows is held out: nothing is trained on them. A tenth, and at least four.

# %%
lines = CLEAN.read_text(encoding="utf-8").splitlines(keepends=True)
count = max(4, len(lines) // 10)
TRAIN, HELD_OUT = WORK / "train.jsonl", WORK / "held_out.jsonl"
HELD_OUT.write_text("".join(lines[:count]), encoding="utf-8")
TRAIN.write_text("".join(lines[count:]), encoding="utf-8")
print(f"{len(lines) - count} rows to train on, {count} held out")

# %% [markdown]
# ## 3 · One row as the model will see it
#
# The chat template applied, the trained part in ⟦…⟧.

# %%
from gft_lite.config import ModelConfig
from gft_lite.models import load_tokenizer
from gft_lite.preflight.token_preview import preview

examples = load_examples(TRAIN).examples
for shown in preview(examples[:1], load_tokenizer(ModelConfig(name=MODEL))):
    print(f"{shown.prompt_tokens} prompt tokens, {shown.response_tokens} trained\n{shown.marked}")

# %% [markdown]
# ## 4 · Groups before any model is loaded
#
# What the experts and teachers of the file earn, and the advantage each has within its group. A
# group whose answers all earn the same teaches nothing until self responses differ from
# them, which is how it is with one right expert a row.

# %%
from gft_lite.groups import score_groups
from gft_lite.types import Group, Response

unscored = [
    Group(
        example,
        tuple(
            Response(text, source)
            for source, texts in (("expert", example.experts), ("teacher", example.teachers))
            for text in texts
        ),
    )
    for example in examples
]
with build_scorer(REWARD) as scorer:
    scored = score_groups(unscored, scorer)
flat = sum(not any(group.advantages) for group in scored)
right = sum(score.value == 1 for group in scored for score in group.scores)
print(f"{right} of {sum(len(g.responses) for g in scored)} demonstrations earn the full reward")
print(f"{flat} of {len(scored)} groups have no contrast before the model answers")

# %% [markdown]
# ## 5 · Train

# %%
import time

from gft_lite import load_config, train_iter

SETTINGS = [
    f"model.name={MODEL}",
    f"model.load_in_4bit={str(FOUR_BIT).lower()}",
    f"data.path={TRAIN}",
    f"data.eval_path={HELD_OUT}",
    f"reward={REWARD}",
    f"train.steps={STEPS}",
    f"eval.every={max(1, STEPS // 4)}",
]
if SMOKE:
    SETTINGS += ["train.prompts_per_step=2", "group.max_new_tokens=96", "eval.k=2"]

run = WORK / f"gft-{time.strftime('%H%M%S')}"
view = display(notebook.curves(run), display_id=True)
drawn = 0.0
for _ in train_iter(load_config(overrides=SETTINGS), run):
    if time.monotonic() - drawn > 3:
        view.update(notebook.curves(run))
        drawn = time.monotonic()
view.update(notebook.curves(run))

# %%
display(notebook.groups(run))

# %% [markdown]
# ## 6 · Compare with the base

# %%
from gft_lite.adapters import model_of
from gft_lite.adapters.compare import compare, load_adapters

with build_scorer(REWARD) as scorer:
    loaded = load_adapters(model_of(run), [run])
    questions = load_examples(HELD_OUT).examples
    comparison = compare(loaded, questions, scorer, max_new_tokens=96)
display(notebook.comparison(comparison))

# %% [markdown]
# ## 7 · Export
#
# `"adapter"` for PEFT, vLLM and TRL; `"merged"` for a model of its own; `"gguf"` for llama.cpp
# and Ollama (it needs llama.cpp's converters). Nothing is kept unless it answers like the model
# that was trained.

# %%
from gft_lite.export import export

done = export(run, "adapter", WORK / f"export-{run.name}")
print(sorted(path.name for path in done.out.iterdir()))
