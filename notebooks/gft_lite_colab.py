# %% [markdown]
# # Group Fine-Tuning on one Colab GPU
#
# SFT imitates every answer it is given. GRPO learns from rewards alone. Group Fine-Tuning puts
# the expert's answer and the model's self responses to a prompt into one group, rewards all of them
# alike, and learns from who did better than the rest.
#
# This notebook trains Qwen2.5-1.5B in 4 bits on grade-school mathematics (GSM8K) with SFT and
# with GFT, and compares the two with the base model: accuracy, single answers, and what was
# forgotten.
#
# *Runtime → Change runtime type → T4 GPU*, then *Runtime → Run all*.
#
# **What has been tried.** With `SMOKE = True` the same cells run on the demo model inside the
# package, on a CPU and without a network; a test does that at every change. On a Colab GPU they
# have not been run by a test: if a cell fails there, please report it with its output.

# %%
import os

SMOKE = (
    os.environ.get("SMOKE") == "1"
)  # the same cells on the embedded demo model: no GPU, no network

SOURCE = "gft-lite[unsloth]"  # what pip installs; see below
MODEL = "Qwen/Qwen2.5-1.5B-Instruct"
DATA = "openai/gsm8k:main"
STEPS = 60

if SMOKE:
    MODEL, DATA, STEPS = "tiny", "embedded:target_train", 3

# %% [markdown]
# ## Install
#
# `gft-lite` had no release on PyPI when this notebook was written. Until it has one, set `SOURCE`
# above to where you got the notebook from: `"gft-lite[unsloth] @
# git+https://HOST/OWNER/gft-lite"`, or the path of a wheel you uploaded. Do not install a package
# of that name from anywhere else.
#
# Colab's image brings PyTorch and transformers in versions that gft-lite takes as they are (2.11
# and 5.15 with Python 3.13 in August 2026); pip adds bitsandbytes, peft and Unsloth and replaces
# `datasets`. If pip says that a package already imported was replaced, restart the runtime and
# run all cells again.

# %%
import subprocess
import sys

if not SMOKE:
    subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", SOURCE])

# %% [markdown]
# ## What fits on this GPU
#
# A 1.5 B model in 4 bits weighs about 1.2 GB; adapter, optimizer and the answers being trained on
# come on top of it. A T4 (15 GiB) has room for that.

# %%
import torch

if torch.cuda.is_available():
    card = torch.cuda.get_device_properties(0)
    print(f"{card.name}, {card.total_memory / 2**30:.1f} GiB")
elif SMOKE:
    print("No GPU, and none is needed: the demo model has 2.8 million parameters.")
else:
    raise SystemExit("No GPU: choose Runtime → Change runtime type → T4 GPU, or set SMOKE = True.")

# %% [markdown]
# ## The data
#
# Whatever a file looks like, `fix_file` writes it as clean rows of *prompt*, *expert* and
# *answer*, and lists what it left out and why. `check_file` then counts, and asks the reward
# about every expert: an expert that fails its own check teaches GFT nothing.

# %%
from pathlib import Path

from IPython.display import display

from gft_lite.assets import resolve
from gft_lite.data import check_file, fix_file
from gft_lite.preflight.reward_check import row_scorer
from gft_lite.report import notebook
from gft_lite.rewards import build_scorer

WORK = Path("gft-lite-notebook")
TRAIN, HELD_OUT = WORK / "train.jsonl", WORK / "held_out.jsonl"

if not TRAIN.exists():
    held_out = "embedded:target_test" if SMOKE else DATA
    print(fix_file(resolve(DATA), TRAIN))
    print(fix_file(resolve(held_out), HELD_OUT, split="test"))

with build_scorer("math") as scorer:
    display(notebook.data(check_file(TRAIN, row_scorer=row_scorer(scorer), reward="math")))

# %% [markdown]
# ## Train: first SFT, then GFT
#
# The same prompts in the same order, the same number of steps. SFT trains on the expert alone;
# GFT also draws four answers from the model itself, at every step anew, and takes longer for it.
# The curves are drawn anew every few seconds while the run goes on.

# %%
import time

from gft_lite import load_config, train_iter

SETTINGS = [
    f"model.name={MODEL}",
    f"data.path={TRAIN}",
    f"data.eval_path={HELD_OUT}",
    f"train.steps={STEPS}",
    f"eval.every={max(1, STEPS // 4)}",
    "eval.k=4",
]
if SMOKE:
    SETTINGS += ["train.prompts_per_step=2", "group.max_new_tokens=96"]
    SETTINGS += ["eval.examples=4", "eval.quick_examples=4", "train.learning_rate=0.0005"]
else:
    SETTINGS += ["model.load_in_4bit=true", "model.gradient_checkpointing=true"]
    SETTINGS += ["group.max_new_tokens=320", "eval.examples=50", "train.learning_rate=0.00005"]


def watch(method: str) -> Path:
    """Train with a method, its curves in view; returns the folder of the run."""
    out = WORK / f"{method}-{time.strftime('%H%M%S')}"
    view = display(notebook.curves(out), display_id=True)
    drawn = 0.0
    for _ in train_iter(load_config(overrides=[*SETTINGS, f"method.name={method}"]), out):
        if time.monotonic() - drawn > 3:
            view.update(notebook.curves(out))
            drawn = time.monotonic()
    view.update(notebook.curves(out))
    return out


sft = watch("sft")

# %%
gft = watch("gft")

# %% [markdown]
# ## Inside a group
#
# One prompt, the answers to it, what each earned, and how far above or below its group that is.
# The background of a token is the probability the model gave it; an underlined token counts with
# less than its full weight, because the model found it very unlikely.

# %%
display(notebook.groups(gft))

# %% [markdown]
# ## Base, SFT and GFT side by side
#
# One copy of the base in memory, the adapters switched. Every column says which weights it stands
# for and how far its outputs are from the base's, so nobody compares a model with itself.
# Differences are tested on the same prompts; with few prompts most of them will be too small to
# tell from chance, and the page says so. Open an answer to see what each of them wrote; prompts
# on which they disagree come first.

# %%
from gft_lite import load_examples
from gft_lite.adapters import model_of
from gft_lite.adapters.compare import compare, load_adapters

questions = load_examples(HELD_OUT, limit=4 if SMOKE else 100).examples
with build_scorer("math") as scorer:
    loaded = load_adapters(model_of(gft), [sft, gft])
    comparison = compare(loaded, questions, scorer, k=2 if SMOKE else 4, max_new_tokens=320)
display(notebook.comparison(comparison))

# %% [markdown]
# ## What was forgotten
#
# How far each adapter has moved from the base on things nobody trained it on: the base answers
# these prompts, and the *drift* says how much less likely its own words have become, in nats per
# token. Zero is the base itself. Put prompts here that matter to you. `examples` takes rows with
# answers, which are then solved with and without the adapter.

# %%
from gft_lite.adapters import adapter_folder
from gft_lite.evaluation.suite import EvalSettings, measure_forgetting
from gft_lite.models import load_policy

PINNED = [
    "Write a short polite e-mail that moves a meeting to Thursday.",
    "Explain to a child why the sky is blue.",
    "Translate into French: the library closes at six.",
]
old_skill = load_examples(resolve("embedded:old_skill_test"), limit=8).examples if SMOKE else ()

for run in (sft, gft):
    model = model_of(run).model_copy(update={"adapter": str(adapter_folder(run))})
    with build_scorer("math") as scorer:
        settings = EvalSettings(max_new_tokens=96)
        policy = load_policy(model, None)
        forgetting = measure_forgetting(policy, old_skill, PINNED, scorer, settings)
    print(f"{run.name}: drift {forgetting.drift.nats_per_token:.4f} nats per token")
    if forgetting.before and forgetting.after:
        print(
            f"  old skill {forgetting.before.greedy_accuracy:.0%} before, "
            f"{forgetting.after.greedy_accuracy:.0%} after"
        )

# %% [markdown]
# ## Keep the adapter
#
# The export is written only if what was written answers like the model that was trained. On Colab
# it goes to your Drive: a runtime that ends takes its files with it.

# %%
from gft_lite.export import export

try:
    from google.colab import drive
except ImportError:
    kept = WORK / "kept"
else:
    drive.mount("/content/drive")
    kept = Path("/content/drive/MyDrive/gft-lite")

done = export(gft, "adapter", kept / gft.name)
for name, gate in done.gates.items():
    print(f"{name}: {gate.same_answers} of {gate.prompts} greedy answers are the same")
print(f"Written to {done.out}")

# %% [markdown]
# ## Go on with reinforcement learning
#
# The next cell is `examples/continue_with_trl.py` of the project: TRL's GRPOTrainer continues the
# adapter, with the policy that GFT made as the reference of its KL term. It runs in a process of
# its own.

# %% [file examples/continue_with_trl.py]

# %%
if not SMOKE:
    subprocess.check_call([sys.executable, "-m", "pip", "install", "--quiet", "trl>=1.15"])

subprocess.check_call(
    [
        sys.executable,
        "continue_with_trl.py",
        str(done.out),
        f"--data={TRAIN}",
        f"--limit={4 if SMOKE else 200}",
        f"--steps={1 if SMOKE else 20}",
        f"--out={WORK / 'continued'}",
    ]
)
print(sorted(path.name for path in (WORK / "continued").iterdir()))

# %% [markdown]
# ## Next
#
# - Your own file: `notebooks/own_file.ipynb`.
# - How the method works, with figures: `docs/how-gft-works.md`.
# - Which method for which data: `docs/choosing-a-method.md`.
