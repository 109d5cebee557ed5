"""What the page is made of, without a browser: events followed, markup escaped, choices exact."""

import json
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gft_lite.config import REGISTRY, load_config
from gft_lite.data import check_file
from gft_lite.memory import Card, card_of
from gft_lite.report.record import read_record
from gft_lite.runs import RunDir, write_groups
from gft_lite.types import ConfigError, DataError, GftError, InputError, RunError
from gft_lite.ui.app import check_exposure, read_auth
from gft_lite.ui.cli_client import run_json
from gft_lite.ui.data import datasets
from gft_lite.ui.data.data_view import dry_run_view, examples_view, histogram, report_view
from gft_lite.ui.errors import INTERNAL_ERROR, sentence
from gft_lite.ui.html import empty, failure
from gft_lite.ui.model.model_tab import memory_badge, preset_for
from gft_lite.ui.model.run_form import NUMBERS, RunForm, command_line, configured
from gft_lite.ui.queue import Job, Jobs
from gft_lite.ui.train import group_inspector, run_view
from gft_lite.ui.train.event_tail import POINTS, EventTails, mean_of
from gft_lite.ui.train.group_inspector import GroupForm
from gft_lite.ui.workspace import Workspace

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>\"'${alert(3)}{{4}}"
CONFIG = load_config(preset="tiny-cpu", overrides=["train.steps=10000"]).to_yaml()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path / "ws")


@pytest.fixture
def run(workspace: Workspace) -> RunDir:
    return RunDir.create(workspace.runs_dir / "gft-1", CONFIG)


def job(run: RunDir) -> Job:
    return Job(run.path.name, run, run.current())


def step(n: int, **more: Any) -> dict[str, Any]:
    return {"type": "step", "step": n, "loss": float(n), "reward_self": n / 10, "seconds": 2.0} | {
        "groups": 8,
        "degenerate_groups": 2,
        **more,
    }


def harmless(html: str) -> bool:
    """No tag of the evil text came through; what is left of it is text."""
    return not re.search(r"<\s*(img|script)", html) and "onerror=alert" in html


# --- following ---


def test_only_what_was_added_is_read_and_half_lines_wait(run: RunDir) -> None:
    tails = EventTails()
    assert tails.snapshot(job(run)).record.steps == ()
    run.event_log.append(step(1))
    whole = run.events_file.read_bytes()
    with run.events_file.open("a") as file:
        file.write('{"type": "step", "step"')
    first = tails.snapshot(job(run))
    assert [e["step"] for e in first.record.steps] == [1]
    run.events_file.write_bytes(whole)  # the same file, the rest of the line not there any more
    run.event_log.append(step(2))
    run.event_log.append({"type": "eval", "step": 2, "target": {"greedy_accuracy": 0.5, "n": 4}})
    second = tails.snapshot(job(run))
    assert [e["step"] for e in second.record.steps] == [1, 2] and second.version != first.version
    assert second.record.last_eval["target"]["n"] == 4
    assert second.record.steps[0]["degenerate_share"] == 0.25


def test_a_run_that_went_back_to_a_checkpoint_is_read_anew(run: RunDir) -> None:
    tails = EventTails()
    for n in range(1, 9):
        run.event_log.append(step(n))
    assert len(tails.snapshot(job(run)).record.steps) == 8
    run.forget_after(4)
    run.event_log.append(step(5, loss=-1.0))
    again = tails.snapshot(job(run)).record.steps
    assert [e["step"] for e in again] == [1, 2, 3, 4, 5] and again[-1]["loss"] == -1.0


def test_ten_thousand_steps_are_few_points_and_quick_to_look_at(run: RunDir) -> None:
    """What a page asks for every 1.5 s: one more step of a run of 10,000."""
    lines = [json.dumps({"time": 1.0, **step(n)}) for n in range(1, 10_001)]
    run.events_file.write_text("\n".join(lines) + "\n")
    run.set_status("running", step=10_000, steps=10_000)
    tails = EventTails()
    kept = tails.snapshot(job(run)).record.steps
    assert 100 <= len(kept) <= POINTS + 64 and kept[-1]["step"] == 10_000
    assert kept == tuple(sorted(kept, key=lambda e: e["step"]))
    assert abs(sum(e["loss"] for e in kept[:100]) / 100 - kept[49]["loss"]) < 60
    took = []
    for n in range(10_001, 10_006):
        run.event_log.append(step(n))
        before = time.process_time()
        seen = tails.snapshot(job(run))
        html = run_view.run_curves(seen)
        took.append(time.process_time() - before)
    assert min(took) < 0.25 and len(html) < 150_000
    assert seen.record.steps[-1]["step"] == 10_005


def test_means_keep_the_last_step_and_leave_out_what_is_no_number() -> None:
    merged = mean_of([{"step": 1, "a": 1.0, "b": 4}, {"step": 2, "a": 3.0, "kl": 0.5}])
    assert merged == {"step": 2, "a": 2.0, "b": 4.0, "kl": 0.5}


def test_what_is_averaged_is_what_the_report_draws(run: RunDir) -> None:
    for n in range(1, 50):
        run.event_log.append(step(n))
    followed = EventTails().snapshot(job(run)).record
    assert followed.steps == read_record(run).steps


def test_seconds_left(run: RunDir) -> None:
    run.event_log.append(step(1))
    run.set_status("running", step=10, steps=10_000)
    assert EventTails().snapshot(job(run)).seconds_left == 9990 * 2.0


# --- what is shown ---


def group_form(**fields: Any) -> GroupForm:
    known: dict[str, Any] = {"name": "gft-1", "step": 1, "group": 1, "colour": "probability"}
    return GroupForm(**{**known, "tau": 0.1, "what_if": False, **fields})


def shown_group(run: RunDir, **fields: Any) -> str:
    return group_inspector.group_view(run, group_form(**fields))[1]


def group(text: str = "a b") -> dict[str, Any]:
    trained = {"tokens": [text, " b"], "probs": [0.05, 0.6], "weights": [0.05, 1.0]}
    return {
        "row": 7,
        "prompt": [{"role": "user", "content": text}],
        "answer": text,
        "responses": [
            {"source": "expert", "text": text, "advantage": 1.5, "reward": 1.0, **trained}
            | {"parts": {text: 0.25, "length": 1.0}},
            {"source": "self", "text": text, "advantage": -1.5, "reward": 0.0},
        ],
    }


def test_every_text_of_data_and_model_is_escaped(run: RunDir) -> None:
    write_groups(run.groups_dir, 3, [group(EVIL)])
    html = shown_group(run, step=3)
    assert harmless(html)
    previews = [
        {"row": 1, "prompt": EVIL, "response": EVIL, "prompt_tokens": 3, "response_tokens": 2}
    ]
    assert harmless(examples_view(previews, EVIL))
    tally = {"scored": 1, "full": 0, "unread": 0, "mean": 0.0}
    failed = {"row": 1, "question": EVIL, "answer": EVIL, "end": EVIL, "verdict": "ok"}
    found = {"expert": tally, "teacher": {**tally, "scored": 0}, "groups": 1, "contrast": 0}
    found |= {"equal": 0, "alone": 1, "unusable": 1, "complaints": [EVIL]}
    found |= {"failing": 1, "failed": [failed]}
    assert harmless(dry_run_view(found, EVIL))
    for made in (empty(EVIL, EVIL), failure(EVIL)):
        assert harmless(made)


def test_names_of_files_columns_and_runs_are_escaped(tmp_path: Path, workspace: Workspace) -> None:
    file = tmp_path / "data.jsonl"
    rows = [{"prompt": EVIL, "expert": "e", EVIL: 1}, {"prompt": "", "expert": EVIL}]
    file.write_text("\n".join(map(json.dumps, rows)))
    assert harmless(report_view(check_file(file)))
    name = "<img src=x onerror=alert(1)>"
    named = RunDir.create(workspace.runs_dir / name, CONFIG.replace("tiny", "'<script>'"))
    named.set_status("failed", message=EVIL)
    jobs = Jobs(workspace)
    seen = EventTails().snapshot(jobs.job(name))
    assert harmless(run_view.run_head(seen, jobs)) and "<script" not in run_view.run_curves(seen)


def test_a_step_that_was_not_stored_shows_the_nearest(run: RunDir) -> None:
    assert shown_group(run) == group_inspector.NO_GROUPS
    for stored in (5, 10):
        write_groups(run.groups_dir, stored, [group(), group("other")])
    for chosen, shown in ((1, 5), (6, 5), (9, 10), (99, 10)):
        assert f"<h3>Step {shown}</h3>" in shown_group(run, step=chosen)
    slider, html = group_inspector.group_view(run, group_form(step=5, group=99))
    assert slider and slider.value == 2 and "other" in html


def test_another_tau_is_answered_from_the_stored_probabilities(run: RunDir) -> None:
    """p = [.05, .6]: at τ = .1 one token of two counts by its probability, at τ = .7 both."""
    write_groups(run.groups_dir, 1, [group(), group()])
    for tau, below in ((0.0, 0), (0.1, 1), (0.7, 2)):
        line = shown_group(run, tau=tau)
        assert f"<b>{below}</b> of 2 trained tokens of this group and {2 * below} of 4" in line
    plain = shown_group(run, tau=0.7)
    moved = shown_group(run, tau=0.7, what_if=True)
    assert "p 0.6 · weight 1" in plain and "p 0.6 · weight 0.6" in moved
    by_weight = shown_group(run, colour="weight", tau=0.0, what_if=True)
    assert 'class="p4"' not in by_weight.split("</p>", 1)[1]


def test_parts_of_a_reward_are_named(run: RunDir) -> None:
    write_groups(run.groups_dir, 1, [group()])
    assert "reward 1 (a b 0.25, length 1)" in shown_group(run)


def test_histogram_counts_every_text(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    rows = [{"prompt": "x" * n, "expert": "y"} for n in range(1, 200)]
    file.write_text("\n".join(map(json.dumps, rows)))
    lengths = check_file(file).characters["prompt"]
    assert sum(lengths.bins) == lengths.count == 199 and len(lengths.bins) == 30
    assert histogram("prompt", lengths).count("<rect") == 30


# --- what was chosen ---

VALUES = dict(
    zip((field.key for field in NUMBERS), (100.0, 8.0, 4.0, 3.0, 192.0, 1e-3, 0.1), strict=True)
)
DEMO = ["data.path=embedded:target_train"]


def form(**fields: Any) -> RunForm:
    known: dict[str, Any] = {"data": "demo", "presets": ("tiny-cpu",), "model": "tiny"}
    known |= {"adapter": None, "method": "gft", "reward": "math", "numbers": VALUES}
    return RunForm(**known | fields)


def test_a_preset_as_it_is_needs_no_setting() -> None:
    assert command_line(form(), DEMO) == "gft-lite train \\\n  --preset tiny-cpu"
    assert configured(form(), DEMO) == load_config(preset="tiny-cpu")


def test_a_card_and_a_model_go_together() -> None:
    card, model = ("8gb", "qwen3-1.7b")
    chosen = form(presets=(card, model), model="Qwen/Qwen3-1.7B")
    assert command_line(chosen, DEMO).startswith(
        "gft-lite train \\\n  --preset 8gb \\\n  --preset qwen3-1.7b"
    )
    assert configured(chosen, DEMO).model.load_in_4bit


@pytest.mark.parametrize("method", REGISTRY)
def test_the_command_line_means_the_same_run(method: str) -> None:
    """What is copied into a shell is, word for word, the configuration that the page would run."""
    values = (7.0, 2.0, 5.0, 0.0, 64.0, 1e-3, 0.3)
    data = ['data.path="/w s/it\'s.jsonl"', 'data.eval_path="/w/b.jsonl"']
    chosen = form(
        method=method,
        numbers=dict(zip(VALUES, values, strict=True)),
        more="lora:\n  r: 4\ntrain: {schedule: cosine, warmup_steps: 2}\n",
    )
    words = shlex.split(command_line(chosen, data).replace("\\\n", " "))
    assert words[:4] == ["gft-lite", "train", "--preset", "tiny-cpu"]
    settings = words[5::2]
    assert words[4::2] == ["--set"] * len(settings)
    config = load_config(preset="tiny-cpu", overrides=settings)
    assert config == configured(chosen, data)
    assert (config.method.name, config.train.steps, config.lora.r) == (method, 7, 4)
    assert config.data.path == "/w s/it's.jsonl" and config.data.retention_path is None
    assert config.train.schedule == "cosine" and config.train.learning_rate == 1e-3


@pytest.mark.parametrize(
    ("more", "complaint"),
    [
        ("train: [", "not valid YAML"),
        ("- a", "write sections"),
        ("train: {stepz: 3}", "did you mean 'steps'"),
        ("train: {steps: many}", "train.steps"),
        ("a: &a [1, 2]\nb: [*a, *a]", "instead of a YAML alias"),
        ("a: " + "[" * 4000 + "]" * 4000, "nested too deeply"),
        ("#" * 20_001, "20,001 characters, at most 20,000"),
    ],
)
def test_what_is_wrong_with_further_settings(more: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        configured(form(more=more), DEMO)


def test_an_empty_field_is_named() -> None:
    with pytest.raises(ConfigError, match="Steps is empty"):
        configured(form(numbers={**VALUES, "train.steps": None}), DEMO)


# --- data files ---

ROW = b'{"prompt": "q", "expert": "a"}\n'


def sent(workspace: Workspace, name: str, content: bytes = ROW) -> str:
    file = workspace.tmp_dir / "hash" / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    return str(file)


def test_a_file_is_kept_under_our_name_and_shown_under_its_own(workspace: Workspace) -> None:
    title = "<b>my data</b> ..%2f.JSONL.gz"
    data = datasets.add_file(workspace, sent(workspace, "x.jsonl.gz"), title)
    assert (data.name, data.source) == ("data-1", "data.jsonl.gz")
    assert Path(data.location(workspace)) == workspace.uploads_dir / "data-1" / "data.jsonl.gz"
    assert datasets.load(workspace, "data-1") == data and not data.ready
    assert [d.name for d in datasets.list_data(workspace)] == ["data-1", "demo"]


@pytest.mark.parametrize(
    "name", ["a.py", "a", "a.jsonl.exe", "a.pkl", ".bashrc", "model.safetensors"]
)
def test_other_kinds_of_file_are_refused(workspace: Workspace, name: str) -> None:
    with pytest.raises(DataError, match=r"files of this kind are not read\. Give JSONL"):
        datasets.add_file(workspace, sent(workspace, name), name)
    assert not list(workspace.uploads_dir.iterdir())


@pytest.mark.parametrize("name", ["rows.zip", "rows.jsonl.bz2", "rows.tar"])
def test_an_archive_is_refused_with_what_to_do(workspace: Workspace, name: str) -> None:
    with pytest.raises(DataError, match=r"archives are not read\. Unpack it, and upload the data"):
        datasets.add_file(workspace, sent(workspace, name), name)
    assert not list(workspace.uploads_dir.iterdir())


def test_files_that_were_not_sent_and_empty_ones_are_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "own.jsonl").write_text("{}")
    with pytest.raises(DataError, match="was not sent by this page"):
        datasets.add_file(workspace, str(tmp_path / "own.jsonl"), "own.jsonl")
    with pytest.raises(DataError, match="the file is empty"):
        datasets.add_file(workspace, sent(workspace, "e.csv", b""), "e.csv")
    with pytest.raises(DataError, match="write owner/name"):
        datasets.add_hub(workspace, "../../etc/passwd")
    with pytest.raises(RunError):
        datasets.load(workspace, "../runs")
    assert (tmp_path / "own.jsonl").is_file()


@pytest.mark.parametrize(
    "damage",
    [
        "{",
        "[]",
        "null",
        "[" * 100_000,
        {"title": 3},
        {"columns": []},
        {"columns": {"prompt": 1}},
        {"train": "many"},
        {"held_out": -1},
        {"parts": "../../other"},
        {"source": "../data.csv"},
        {"colour": "red"},
    ],
    ids=lambda damage: str(damage)[:30],
)
def test_a_damaged_about_file_is_named_and_hides_no_other(
    workspace: Workspace, damage: str | dict[str, Any]
) -> None:
    for name in ("a.csv", "b.csv"):
        datasets.add_file(workspace, sent(workspace, name), name)
    about = workspace.uploads_dir / "data-1" / "about.json"
    if isinstance(damage, dict):
        damage = json.dumps(json.loads(about.read_text()) | damage)
    about.write_text(damage)
    listed = {data.name: data for data in datasets.list_data(workspace)}
    assert set(listed) == {"data-1", "data-2", "demo"}
    assert listed["data-1"].title == "damaged" and not listed["data-1"].ready
    with pytest.raises(DataError, match=r"data-1/about\.json is damaged.*upload the file again"):
        datasets.load(workspace, "data-1")


# --- the command line behind it ---


def test_ask_gives_the_document_or_the_sentence(workspace: Workspace) -> None:
    found = run_json(workspace, "data", "dry-run", "embedded:target_train", "--limit=20")
    assert found["groups"] == 20 and found["expert"]["scored"] == 20
    bad = workspace.root / "x.jsonl"
    bad.write_text('{"foo": 1}\n')
    with pytest.raises(InputError, match=r"^x\.jsonl: no known format has the columns 'foo'"):
        run_json(workspace, "data", "check", str(bad))


@pytest.mark.slow
def test_dry_run_and_split_on_the_command_line(tmp_path: Path) -> None:
    file = tmp_path / "d.jsonl"
    rows: list[dict[str, object]] = [
        {"prompt": "1+1", "expert": "it is 2\n#### 2", "answer": "2", "teachers": ["#### 3"]},
        {"prompt": "add 1 2", "expert": "#### 4", "answer": "3"},
        {"prompt": "ADD 1 2", "expert": "none", "answer": "3", "teachers": ["#### 3", "#### 3"]},
        {"prompt": "5+5", "expert": "#### 10", "answer": "10", "teachers": ["#### 10"]},
    ]
    file.write_text("\n".join(map(json.dumps, rows)))

    def command(*words: str) -> Any:
        ran = subprocess.run(
            [sys.executable, "-m", "gft_lite", "data", *words, "--json"],
            capture_output=True,
            text=True,
        )
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout)

    found = command("dry-run", str(file))
    assert (found["groups"], found["contrast"], found["equal"], found["alone"]) == (4, 2, 1, 1)
    assert [f["row"] for f in found["failed"]] == [2, 3] and found["failing"] == 2
    assert found["expert"]["full"] == 2 and found["teacher"]["full"] == 3
    parts = command("split", str(file), "--held-out", "1", "--out", str(tmp_path / "out"))
    assert parts["train_examples"] + parts["held_out_examples"] == 4
    prompts = [
        {json.loads(line)["prompt"].lower() for line in Path(parts[key]).read_text().splitlines()}
        for key in ("train", "held_out")
    ]
    assert prompts[0] and prompts[1] and not prompts[0] & prompts[1]


# --- who may see it ---


@pytest.mark.parametrize(
    ("host", "share"), [("0.0.0.0", False), ("::", False), ("127.0.0.1", True)]
)
def test_others_need_a_password(host: str, share: bool) -> None:
    with pytest.raises(ConfigError, match="set a password with --auth USER:PASSWORD"):
        check_exposure(host, share, None)
    check_exposure(host, share, ("a", "b"))
    check_exposure("127.0.0.1", False, None)


@pytest.mark.parametrize("text", ["", "ann", "ann:", ":secret"])
def test_half_a_password_is_none(text: str) -> None:
    with pytest.raises(ConfigError, match="USER:PASSWORD"):
        read_auth(text)
    assert read_auth("ann:a:b") == ("ann", "a:b") and read_auth(None) is None


@pytest.mark.slow
def test_the_command_refuses_with_code_2() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "gft_lite", "ui", "--host", "0.0.0.0"],
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 2 and "--auth USER:PASSWORD" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_errors_are_sentences_and_the_log_has_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    assert sentence(GftError("the sentence")) == "the sentence" and not caplog.records
    assert sentence(KeyError("secret detail")) == INTERNAL_ERROR
    assert "secret detail" in caplog.text


# --- memory ---


def test_the_driver_names_the_card() -> None:
    assert card_of("NVIDIA GeForce RTX 4060, 8188\n") == Card(
        "NVIDIA GeForce RTX 4060", 8188 / 1024
    )
    assert card_of("NVIDIA-SMI has failed\n") is None
    assert card_of("") is None


@pytest.mark.parametrize(
    ("gib", "preset"), [(6.0, "6gb"), (7.99, "8gb"), (14.6, "16gb"), (24.0, "24gb"), (80.0, "24gb")]
)
def test_the_first_preset_is_for_the_card(gib: float, preset: str) -> None:
    assert preset_for(Card("a card", gib)) == preset


def test_without_a_card_the_demo_model_is_first() -> None:
    assert preset_for(None) == "tiny-cpu"
    assert "no GPU is needed" in memory_badge(load_config(preset="tiny-cpu"), None)


@pytest.mark.slow
def test_the_badge_says_whether_it_fits() -> None:
    large = load_config(preset="12gb")
    assert "does not fit" in memory_badge(large, Card("<b>", 6.0))
    assert "&lt;b&gt; has 6.0" in memory_badge(large, Card("<b>", 6.0))
    assert "fits" in memory_badge(large, Card("a card", 12.0))
    assert "no GPU found" in memory_badge(large, None)
    assert "GB card is enough" in memory_badge(large, None)
    unknown = load_config(preset="12gb", overrides=["model.name=someone/unheard-of"])
    assert "no forecast" in memory_badge(unknown, None)
