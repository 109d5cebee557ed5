"""The HTML report: complete where there is data, useful where there is little, always harmless."""

from __future__ import annotations

import json
import math
import random
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from importlib.util import module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from gft_lite.cli.terminal import step_line
from gft_lite.experiments.demo import LEAD
from gft_lite.export.card import _metrics
from gft_lite.report import write_methods_report, write_run_report
from gft_lite.report.charts import LABEL_GAP, Line, line_chart, spread
from gft_lite.report.findings import margin, methods_headline, warnings
from gft_lite.report.methods import comparison_table
from gft_lite.report.numbers import downsample, duration, figure, percent, power, ticks
from gft_lite.report.record import read_record
from gft_lite.runs import RunDir, write_groups
from gft_lite.types import RunError

EVIL = "<script>alert('x')</script><img src=//evil.example/a onerror=a()>"
VOID = {"meta", "link", "img", "br", "hr", "input"}


# --- a run as the trainer writes it -------------------------------------------------------------


def config(method: str, **train: Any) -> str:
    chosen = {"name": method, **({"tau": 0.1} if method == "gft" else {})}
    return yaml.safe_dump(
        {
            "model": {"name": "tiny"},
            "data": {"path": "embedded:target_train"},
            "group": {"expert": 1, "teacher": 1, "self": 4},
            "method": chosen,
            "train": {"steps": 60, "learning_rate": 1e-3, "prompts_per_step": 8, **train},
        }
    )


def step_event(step: int, method: str, rng: random.Random, steps: int = 60) -> dict[str, Any]:
    done = step / steps
    event = {
        "type": "step",
        "step": step,
        "steps": steps,
        "loss": 1.2 * math.exp(-3 * done) + rng.gauss(0, 0.05),
        "grad_norm": 0.6 + abs(rng.gauss(0, 0.2)),
        "skipped_update": 0,
        "groups": 8,
        "degenerate_groups": 0,
        "demonstrations_too_long": 0,
        "entropy_nats_per_token": 0.4 - 0.2 * done + rng.gauss(0, 0.02),
        "rectified_fraction_expert": 0.0,
        "response_tokens": 900,
        "trained_tokens": 700,
        "trained_responses": 40,
        "learning_rate": 1e-3,
        "rollout_seconds": 0.9 if method == "gft" else 0.0,
        "scoring_seconds": 0.02,
        "train_seconds": 0.3,
        "seconds": 1.25 if method == "gft" else 0.32,
        "peak_memory_gib": 0.9,
    }
    if method == "gft":
        event |= {
            "loss": -0.1 * done + rng.gauss(0, 0.05),
            "reward_expert": 0.8 + rng.gauss(0, 0.1),
            "reward_teacher": 0.6 + rng.gauss(0, 0.15),
            "reward_self": 0.02 + 0.5 * done + rng.gauss(0, 0.06),
            "rectified_fraction_expert": 0.16 * math.exp(-2 * done) + abs(rng.gauss(0, 0.01)),
            "rectified_fraction_teacher": 0.2 * math.exp(-2 * done) + abs(rng.gauss(0, 0.01)),
            "rectified_fraction_self": 0.02 + abs(rng.gauss(0, 0.004)),
            "rectified_fraction_positive": 0.1 * math.exp(-2 * done) + abs(rng.gauss(0, 0.01)),
            "rectified_fraction_negative": 0.05 + abs(rng.gauss(0, 0.01)),
            "kl_nats_per_token": 0.12 * done + abs(rng.gauss(0, 0.006)),
            "degenerate_groups": rng.choice((1, 1, 2, 3)),
            "self_response_tokens": 60 - 8 * done + rng.gauss(0, 2),
            "truncated": rng.choice((0, 0, 1, 2)),
            "unparsed": rng.choice((0, 1)),
            "timeouts": 0,
            "reward_errors": 0,
        }
    return event


def eval_event(step: int, target: float, old: float, *, final: bool = False) -> dict[str, Any]:
    sampled = {"k": 8, "mean_at_k": target * 0.9, "pass_at_k": min(1.0, target * 1.3)}
    event: dict[str, Any] = {
        "type": "eval",
        "step": step,
        "target": {"n": 200, "k": 0, "greedy_accuracy": target, **(sampled if final else {})},
        "old_skill": {"n": 100, "k": 0, "greedy_accuracy": old},
    }
    if final:
        drift = {"kl_nats_per_token": 0.031, "kl_nats_per_sequence": 1.9, "sequences": 64}
        event |= {"final": True, "drift": drift}
    return event


def response(source: str, advantage: float, words: str, **extra: Any) -> dict[str, Any]:
    rng = random.Random(words)
    tokens = re.findall(r"\s*\S+", words)
    probs = [round(rng.choice((0.999, 0.97, 0.93, 0.8, 0.4, 0.06, 0.004)), 5) for _ in tokens]
    traced = {
        "tokens": tokens,
        "probs": probs,
        "weights": [p if p < 0.1 else 1.0 for p in probs],
    }
    return {
        "source": source,
        "text": words,
        "finished": True,
        "advantage": advantage,
        "reward": float(advantage > 0),
        "verdict": "ok",
        "parts": {},
        **(traced if advantage else {}),
        **extra,
    }


def group(prompt: str = "Mia has 3 boxes of 4 pens. She loses 5, then doubles the rest. How many?"):
    right = "3 boxes of 4 pens are 3*4=12 pens. 12-5=7 are left. Twice 7 is 14. The answer is 14."
    wrong = "3 boxes of 4 pens are 3*4=12 pens. 12-5=8 are left. Twice 8 is 16. The answer is 16."
    return {
        "row": 17,
        "prompt": [{"role": "user", "content": prompt}],
        "answer": "14",
        "responses": [
            response("expert", 0.91, right),
            response("teacher", -0.91, wrong),
            response("self", 0.91, right + " "),
            response("self", -0.91, "3+4=7. 7-5=2. The answer is 4."),
            response("self", 0.91, "12 pens, 7 left, so 14. The answer is 14."),
            response(
                "self", -0.91, "The answer is the the the", finished=False, verdict="unparsed"
            ),
        ],
    }


def flat_group() -> dict[str, Any]:
    return {
        "row": 3,
        "prompt": [{"role": "user", "content": "Too easy?"}],
        "answer": "1",
        "responses": [response("expert", 0.0, "1"), response("self", 0.0, "1")],
    }


STARTED = {
    "type": "started",
    "step": 0,
    "resumed": False,
    "examples": 2000,
    "examples_left_out": 3,
    "bad_rows_dropped": 0,
    "trainable_parameters": 311296,
    "backend": "hf",
    "backend_reason": "no CUDA GPU",
    "device": "cpu",
    "dtype": "float32",
    "python": "3.12.1",
    "versions": {"torch": "2.9.0", "transformers": "5.3.0", "peft": "0.18.0"},
}


def make_run(path: Path, method: str = "gft", steps: int = 60, target: float = 0.5) -> RunDir:
    rng = random.Random(method)
    run = RunDir.create(path, config(method, steps=steps))
    run.event_log.append(STARTED)
    run.event_log.append(eval_event(0, 0.005, 1.0))
    old = {"sft": 0.6, "dft": 0.7, "gft": 0.86}.get(method, 0.8)
    for step in range(1, steps + 1):
        run.event_log.append(step_event(step, method, rng, steps))
        if step % 10 == 0 and step < steps:
            share = step / steps
            noisy = target * share + rng.gauss(0, 0.02)
            run.event_log.append(eval_event(step, max(0.0, noisy), 1 - (1 - old) * share**0.5))
        if method == "gft":
            write_groups(run.groups_dir, step, [flat_group(), group()])
    run.event_log.append(eval_event(steps, target, old, final=True))
    run.event_log.append({"type": "finished", "state": "finished", "step": steps, "seconds": 80.0})
    run.set_status("finished", step=steps, steps=steps)
    return run


def row(method: str, target: float, old: float, **more: Any) -> dict[str, Any]:
    return {
        "method": method,
        "target_greedy": target,
        "target_mean_at_8": target * 0.9,
        "target_pass_at_8": min(1.0, target * 1.3),
        "old_skill_greedy": old,
        "kl_nats_per_token": 0.0 if method == "base" else 0.05,
        "steps": 0 if method == "base" else 60,
        "seconds": 21.4,
        "learning_rate": None if method == "base" else 1e-3,
        "learning_rates_tried": [] if method == "base" else [3e-4, 1e-3, 2e-3],
        **more,
    }


ROWS = [
    row("base", 0.005, 1.0),
    row("sft", 0.44, 0.6),
    row("dft", 0.58, 0.7),
    row("gft", 0.55, 0.86, seconds=75.2),
]


def make_demo(folder: Path, steps: int = 60) -> Path:
    for entry in ROWS[1:]:
        make_run(folder / entry["method"], entry["method"], steps, entry["target_greedy"])
    demo = {"rows": ROWS, "seed": 0, "cores": 2, "python": "3.12.1", "lead": LEAD}
    (folder / "demo.json").write_text(json.dumps(demo), encoding="utf-8")
    return folder


# --- reading the page ---------------------------------------------------------------------------


class Page(HTMLParser):
    """Fails on tags that do not match; collects what a test asks for."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.html = html
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", "".join(self.words))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]

    def headings(self) -> set[str]:
        return set(re.findall(r"<h[123]>([^<]*)</h", self.html))


def check(path: Path) -> Page:
    """What must hold for every report."""
    html = path.read_text(encoding="utf-8")
    page = Page(html)
    for _, attrs in page.tags:
        for name, value in attrs.items():
            assert not name.startswith("on"), name
            if name in {"src", "href", "srcset", "data", "action", "poster"}:
                assert value == "data:,", value
    assert not page.named("script") and not page.named("img") and not page.named("iframe")
    assert "@import" not in html and not re.search(r"url\(", html)
    assert "http://" not in html and "https://" not in html
    assert page.named("html") == [{"lang": "en"}]
    assert any(meta.get("name") == "viewport" for meta in page.named("meta"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for svg in page.named("svg"):
        assert set((svg["aria-labelledby"] or "").split()) <= set(ids)
    assert len(page.named("desc")) == len(page.named("svg")) == len(page.named("title")) - 1
    assert not re.search(r"\b(nan|inf|None)\b", page.html)
    assert not path.with_name(path.name + ".tmp").exists()
    return page


# --- the demo -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    folder = make_demo(tmp_path_factory.mktemp("demo"))
    path = write_methods_report(folder)
    assert path == folder / "report.html"
    yield check(path)


def test_demo_shows_every_part(demo_page: Page) -> None:
    assert demo_page.headings() >= {
        "Side by side",
        "Learned and kept",
        "How it went",
        "Target over steps",
        "Target over training time",
        "Old skill over steps",
        "Loss of SFT",
        "Loss of DFT",
        "Loss of GFT",
        "Inside the GFT run",
        "Reward by source",
        "Rectified fraction by source",
        "Entropy of self responses",
        "KL to the reference",
        "Degenerate groups",
        "Gradient norm",
        "Length of self responses",
        "Truncated self responses",
        "Inside a group",
        "How it was run",
    }
    assert len(demo_page.named("figcaption")) == len(demo_page.named("figure")) == 16


def test_demo_table_is_a_real_table(demo_page: Page) -> None:
    heads = demo_page.named("th")
    assert sum(h["scope"] == "col" for h in heads) == 11
    assert sum(h["scope"] == "row" for h in heads) == 4
    for said in ("58.0\u00a0%", "86.0\u00a0%", "1e−3", "tried 3e−4, 1e−3, 2e−3"):
        assert said in "".join(demo_page.words)


def test_demo_says_what_one_seed_is_worth(demo_page: Page) -> None:
    assert "One seed is one draw" in demo_page.text
    assert "on purpose" in demo_page.text
    assert "200 held-out problems" in demo_page.text


def test_demo_folds_the_settings_and_names_the_machine(demo_page: Page) -> None:
    assert len(demo_page.named("details")) == 3
    assert "prompts_per_step: 8" in demo_page.text
    assert "torch 2.9.0" in demo_page.text and "no CUDA GPU" in demo_page.text


def test_demo_looks_inside_an_early_and_a_late_mixed_group(demo_page: Page) -> None:
    assert {"Step 1", "Step 60"} <= demo_page.headings()
    assert "Too easy?" not in demo_page.text
    assert "discouraged" in demo_page.text and "cut off" in demo_page.text
    spans = demo_page.named("span")
    below = [s for s in spans if s.get("title") == "p 0.004 · weight 0.004"]
    assert below and all(s["class"] == "p4 r" for s in below)
    assert all("class" not in s for s in spans if s.get("title") == "p 0.999 · weight 1")


def test_demo_charts_tell_methods_apart_without_colour(demo_page: Page) -> None:
    names = re.findall(r'<text class="name"[^>]*>([^<]*)</text>', demo_page.html)
    assert names.count("GFT") == names.count("SFT") == names.count("DFT") == 3
    assert names.count("expert") == names.count("teacher") == names.count("self") == 2
    dashes = re.findall(r"\.c-(sft|dft|gft) \{[^}]*--dash: ([^;]*);", demo_page.html)
    assert len({pattern for _, pattern in dashes}) == 3


def test_demo_without_run_folders_still_has_its_figures(tmp_path: Path) -> None:
    demo = {"rows": [*ROWS, {"method": "../gft"}, {"method": EVIL}, "junk"], "seed": 0}
    (tmp_path / "demo.json").write_text(json.dumps(demo), encoding="utf-8")
    page = check(write_methods_report(tmp_path, tmp_path / "deep" / "x.html"))
    assert "Side by side" in page.headings() and "How it went" not in page.headings()
    assert EVIL.upper() in page.text


@pytest.mark.parametrize("rows", [[], [{}], [{"method": "base"}], [row("gft", math.nan, 1.0)]])
def test_demo_with_little_in_it(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    (tmp_path / "demo.json").write_text(json.dumps({"rows": rows}), encoding="utf-8")
    assert "No method was measured" in check(write_methods_report(tmp_path)).text


@pytest.mark.parametrize("content", [None, "{", "[]", '{"rows": 1}'])
def test_no_demo_is_a_sentence(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "demo.json").write_text(content, encoding="utf-8")
    with pytest.raises(RunError, match=r"demo\.json"):
        write_methods_report(tmp_path)


# --- headlines follow the figures ---------------------------------------------------------------


def test_margin_is_two_standard_errors_of_a_difference() -> None:
    """p = .5, n = 200: 2·√(2·.25/200) = 0.1; p = 0 of 50 counts as .02: 2·√(2·.0196/50) = .056"""
    assert margin(0.5, 200) == pytest.approx(0.1)
    assert margin(0.0, 50) == pytest.approx(0.056)
    assert margin(1.0, 50) == pytest.approx(0.056)
    assert margin(0.5, None) == 0


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ({"sft": (0.9, 0.5), "gft": (0.5, 0.9)}, ("SFT learned the target best", "GFT kept most")),
        ({"sft": (0.9, 0.9), "gft": (0.5, 0.5)}, ("SFT learned", "SFT also kept most")),
        ({"sft": (0.6, 0.5), "gft": (0.58, 0.9)}, ("SFT (60.0 %) and GFT (58.0 %) are too close",)),
        ({"sft": (0.02, 0.5), "gft": (0.01, 0.9)}, ("No method clearly improved",)),
        ({"sft": (0.9, 1.0), "gft": (0.5, 0.5)}, ("SFT lost nothing of the old skill",)),
        (
            {"sft": (0.9, 0.8), "gft": (0.5, 0.8)},
            ("on the old skill, SFT (80.0 %) and GFT (80.0 %) are too",),
        ),
    ],
)
def test_demo_headline(figures: dict[str, tuple[float, float]], expected: tuple[str, ...]) -> None:
    rows = [row("base", 0.01, 1.0), *(row(m, *pair) for m, pair in figures.items())]
    said = methods_headline(rows, 200, 100).replace("\u00a0", " ")
    for part in expected:
        assert part in said
    assert said.count(". ") == 0 and said.endswith(".")


def test_demo_headline_is_silent_on_a_skill_that_was_never_there() -> None:
    said = methods_headline([row("base", 0.0, 0.0), row("gft", 0.5, 0.0)], 200, 100)
    assert "old skill" not in said


# --- one run ------------------------------------------------------------------------------------


def test_run_report_is_complete(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    page = check(write_run_report(run))
    assert page.headings() >= {
        "Curves",
        "Held-out accuracy",
        "Loss",
        "Reward by source",
        "Seconds a step",
        "Step 1",
        "Step 60",
        "How it was run",
    }
    words = page.text.replace("\u00a0", " ")
    assert "Finished after 60 steps: 50.0 % of held-out problems right, 0.5 % before" in words
    assert "mean@8" in words and "nats per token" in words
    assert "Worth a look" in page.headings()  # the old skill fell from 100 % to 86 %


def test_text_from_outside_is_escaped(tmp_path: Path) -> None:
    settings = config("gft").replace("name: tiny", f'name: "{EVIL}</pre></style>"')
    run = RunDir.create(tmp_path / "<script>x&y", settings)
    run.event_log.append({**STARTED, "device": EVIL, "versions": {EVIL: EVIL}})
    run.event_log.append(step_event(1, "gft", random.Random(0)))
    evil = group(EVIL)
    evil["answer"] = EVIL
    evil["row"] = EVIL
    odd = response("self", 1.0, EVIL + " \x00\x1b[31m\u202eabc", verdict=EVIL)
    evil["responses"] += [odd, response(EVIL, 1.0, EVIL, reward=EVIL)]
    evil["prompt"].append({"role": EVIL, "content": EVIL})
    write_groups(run.groups_dir, 1, [evil])
    run.set_status("failed", message=EVIL)
    page = check(write_run_report(run))
    assert "<script" not in page.html and "<img" not in page.html
    assert page.text.count(EVIL) >= 8
    assert "\x00" not in page.html and "\x1b" not in page.html


def test_run_that_never_started(tmp_path: Path) -> None:
    page = check(write_run_report(RunDir.create(tmp_path / "run", config("gft"))))
    assert "Not started yet" in page.text and "Settings" in page.text


def test_run_that_failed_before_a_step(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", config("gft"))
    run.event_log.append({"type": "failed", "message": "prompts are too long"})
    run.set_status("failed", message="prompts are too long")
    page = check(write_run_report(run))
    assert "Failed after 0 of 60 steps." in page.text
    assert "The run ended early: prompts are too long" in page.text


def test_one_step(tmp_path: Path) -> None:
    page = check(write_run_report(make_run(tmp_path / "run", steps=1)))
    assert "Finished after 1 step:" in page.text
    assert "Step 1" in page.headings() and len(page.named("article")) == 1


def test_stopped_and_resumed(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "sft", steps=6)
    run.event_log.append({**STARTED, "resumed": True})
    run.set_status("stopped", message="interrupted; `gft-lite resume` continues")
    page = check(write_run_report(run))
    assert "Stopped after 6 of 6 steps" in page.text and "interrupted" in page.text
    assert "2 times, resumed from a checkpoint" in page.text


def test_missing_and_senseless_values(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", "method: [not, a, mapping]\ntrain: ~\n")
    events: list[dict[str, Any]] = [
        {"type": "step"},
        {"type": "step", "step": 1, "loss": math.nan, "groups": 0, "degenerate_groups": 0},
        {"type": "step", "step": 2, "loss": math.inf, "reward_self": None},
        {"type": "step", "step": 3, "loss": "low", "seconds": True, "grad_norm": 1e300},
        {"type": "step", "step": 4, "loss": 0.5},
        {"type": "eval", "step": 4, "target": None, "old_skill": 3},
        {"type": "started", "versions": 7},
        {"type": "unheard of"},
    ]
    for event in events:
        run.event_log.append(event)
    write_groups(run.groups_dir, 1, [{}, {"responses": None}, {"responses": [3, {"advantage": 1}]}])  # type: ignore[list-item]
    (run.groups_dir / "step-000002.json.gz").write_bytes(b"not gzip")
    (run.path / "config.yaml").write_bytes(b"a: [\xff")
    page = check(write_run_report(run))
    assert "3 values that are no finite number are not drawn" in page.text
    assert "Loss" in page.headings()


def test_half_written_last_line_is_left_out(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "sft", steps=3)
    with run.events_file.open("a", encoding="utf-8") as file:
        file.write('{"type": "step", "st')
    assert "Loss" in check(write_run_report(run)).headings()


@pytest.mark.slow
def test_long_run_is_small_and_quick(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", config("gft", steps=5_000))
    rng = random.Random(0)
    lines = [json.dumps(step_event(s, "gft", rng, 5_000)) for s in range(1, 5_001)]
    run.events_file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    many = [response("self", 1.0, "so " * 3000) for _ in range(40)]
    write_groups(run.groups_dir, 1, [{**group(), "responses": many}])
    started = time.process_time()
    path = write_run_report(run)
    assert time.process_time() - started < 5
    page = check(path)
    assert path.stat().st_size < 2_000_000
    assert "28 more answers are not shown" in page.text and "2,680 more tokens" in page.text


def test_where_it_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", "sft", steps=1)
    with pytest.raises(RunError, match="is a folder; name an HTML file"):
        write_run_report(run, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        write_run_report(run, tmp_path / "file" / "report.html")


def test_shares_count_whole_rollouts(tmp_path: Path) -> None:
    """Two updates a rollout of 8 groups each: 12 degenerate of 16, counted in the first step."""
    run = RunDir.create(tmp_path / "run", config("gft", updates_per_rollout=2))
    for step, degenerate in ((1, 12), (2, 0)):
        run.event_log.append(
            {"type": "step", "step": step, "groups": 8, "degenerate_groups": degenerate}
        )
    first, second = read_record(run).steps
    assert first["degenerate_share"] == 0.75
    assert "degenerate_share" not in second


# --- warnings -----------------------------------------------------------------------------------


def warned(path: Path, change: dict[str, Any], groups: list[dict[str, Any]] | None = None) -> str:
    run = RunDir.create(path, config("gft"))
    for step in range(1, 7):
        event = {**step_event(step, "gft", random.Random(step)), "reward_self": 0.1, **change}
        run.event_log.append({k: v(step) if callable(v) else v for k, v in event.items()})
        write_groups(run.groups_dir, step, groups or [group()])
    return " ".join(warnings(read_record(run)))


def test_a_healthy_run_has_no_warnings(tmp_path: Path) -> None:
    assert warned(tmp_path / "run", {}) == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"degenerate_groups": 5}, "62.5\u00a0% of the groups had equal rewards"),
        ({"truncated": 8}, "25.0\u00a0% of self responses hit the length limit"),
        ({"unparsed": 24}, "At least 50.0\u00a0% of the answers could not be read"),
        ({"skipped_update": 1}, "6 steps had a gradient that was not finite"),
        ({"skipped_update": 1, "trained_responses": 0}, "6 steps had no group with contrast"),
        ({"timeouts": 1}, "6 answers took too long to check"),
        ({"reward_errors": lambda step: int(step == 1)}, "The reward broke on 1 answer;"),
        ({"demonstrations_too_long": 2}, "12 times a demonstration was longer"),
    ],
)
def test_warning(tmp_path: Path, change: dict[str, Any], sentence: str) -> None:
    said = warned(tmp_path / "run", change)
    assert said.startswith(sentence)
    assert said.count(". ") <= 1, "more than one warning"


def test_warning_that_only_the_expert_is_praised(tmp_path: Path) -> None:
    alone = group()
    alone["responses"] = [response("expert", 1.15, "14"), response("self", -0.58, "13")]
    assert "100.0\u00a0% of the groups looked at, the expert was" in warned(
        tmp_path / "run", {}, [alone, flat_group()]
    )


def test_warning_that_reward_rises_while_accuracy_falls(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", config("gft"))
    for step in range(1, 7):
        run.event_log.append({"type": "step", "step": step, "reward_self": step / 10})
        run.event_log.append(eval_event(step, 0.5 - step / 50, 0.9))
    (said,) = warnings(read_record(run))
    assert said.startswith("The training reward rose by 0.40 while held-out accuracy fell by 10.0")


def test_warning_that_the_old_skill_is_lost(tmp_path: Path) -> None:
    run = RunDir.create(tmp_path / "run", config("sft"))
    run.event_log.append(eval_event(0, 0.1, 1.0))
    run.event_log.append(eval_event(9, 0.5, 0.6, final=True))
    assert warnings(read_record(run))[0].startswith("The old skill fell from 100.0")


def test_warning_of_a_runaway_in_a_run_that_recorded_no_event(tmp_path: Path) -> None:
    """As the trainer of an earlier version left it: the figures are enough."""
    run = RunDir.create(tmp_path / "run", config("gft"))
    rng = random.Random(0)
    for step in range(1, 31):
        entropy = 0.3 if step <= 20 else 1.5
        run.event_log.append({**step_event(step, "gft", rng), "entropy_nats_per_token": entropy})
    said = " ".join(warnings(read_record(run)))
    assert "Step 22: the entropy of self responses rose from 0.30 to 0.78 nats per token." in said


# --- entropy, and the best step -----------------------------------------------------------------


def test_entropy_is_drawn_of_self_responses_alone(tmp_path: Path) -> None:
    """A run of an earlier version of SFT recorded that of the expert's tokens: it is left out.
    Evaluations have it for every method."""
    title = "Entropy of self responses"
    old = make_run(tmp_path / "old", "sft")
    assert title not in check(write_run_report(old)).headings()
    run = make_run(tmp_path / "new", "sft")
    run.event_log.append({**eval_event(60, 0.5, 0.6, final=True), "entropy_nats_per_token": 0.25})
    page = check(write_run_report(run))
    assert title in page.headings() and "held out" in page.text
    assert "0.25" in page.text
    assert title in check(write_run_report(make_run(tmp_path / "gft"))).headings()


def test_a_run_that_kept_its_best_shows_curve_and_adapter_apart(tmp_path: Path) -> None:
    """The curve ends at the last step's accuracy, the headline has that of the adapter."""
    run = RunDir.create(tmp_path / "run", config("sft"))
    for step, share in ((0, 0.1), (30, 0.7), (60, 0.4)):
        run.event_log.append(eval_event(step, share, 0.9))
    run.event_log.append({**eval_event(60, 0.68, 0.95, final=True), "adapter_step": 30})
    record = read_record(run)
    assert [e["target"]["greedy_accuracy"] for e in record.evals] == [0.1, 0.7, 0.4]
    assert record.last_eval["target"]["greedy_accuracy"] == 0.68
    assert "68.0" in check(write_run_report(run)).text
    assert warnings(record) == []


def test_sampled_figures_name_their_temperature(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    event = eval_event(60, 0.5, 0.9, final=True)
    event["target"]["temperature"] = 0.5
    run.event_log.append(event)
    assert "mean@8, T=0.5" in check(write_run_report(run)).text
    folder = make_demo(tmp_path / "demo")
    demo = json.loads((folder / "demo.json").read_text(encoding="utf-8"))
    (folder / "demo.json").write_text(json.dumps({**demo, "temperature": 0.5}), encoding="utf-8")
    assert "pass@8, T=0.5" in check(write_methods_report(folder)).text


def test_the_script_draws_every_figure_of_the_docs() -> None:
    root = Path(__file__).parents[3]
    spec = spec_from_file_location("figures", root / "scripts" / "figures.py")
    assert spec and spec.loader
    script = module_from_spec(spec)
    spec.loader.exec_module(script)
    drawn = script.figures()
    assert drawn.keys() == {file.stem for file in (root / "docs" / "images").glob("*.svg")}
    assert all("<svg" in drawing for drawing in drawn.values())


# --- numbers and charts -------------------------------------------------------------------------


def test_downsampling_keeps_ends_and_peaks() -> None:
    points = [(float(i), 0.0) for i in range(10_000)]
    points[4321] = (4321.0, 9.0)
    kept = downsample(points)
    assert len(kept) <= 1000 and kept == sorted(kept)
    assert (4321.0, 9.0) in kept and kept[0] == points[0]
    assert downsample(points[:1000]) == points[:1000]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (-0.3, 0.1, [-0.3, -0.2, -0.1, 0.0, 0.1]),
        (1.0, 60.0, [20.0, 40.0, 60.0]),
        (2.0, 2.0, [2.0]),
    ],
)
def test_ticks(low: float, high: float, expected: list[float]) -> None:
    assert ticks(low, high) == expected


def test_figures_in_words() -> None:
    assert [figure(v) for v in (-0.01234, 0.0, 12345.0, 2e-5, None)] == [
        "−0.0123",
        "0",
        "12,345",
        "2e−5",
        "–",
    ]
    assert [power(v) for v in (1e-3, 2.5e-4, 0.0)] == ["1e−3", "2.5e−4", "0"]
    assert [duration(v) for v in (3.21, 59.8, 93, 7380)] == [
        "3.2\u00a0s",
        "60\u00a0s",
        "1\u00a0min 33\u00a0s",
        "2\u00a0h 3\u00a0min",
    ]
    assert percent(0.525) == "52.5\u00a0%"


def test_nothing_is_written_as_minus_zero() -> None:
    """KL is measured: where nothing moved, rounding makes it a hair less than 0."""
    assert figure(-0.0) == "0"
    row = {"method": "gft", "kl_nats_per_token": -0.0004}
    said = comparison_table([row, {**row, "kl_nats_per_token": -0.0006}], 8)
    assert "-0.001" in said and ">0.000<" in said and "-0.000" not in said
    assert step_line({"loss": -0.0004}) == "loss +0.000"
    assert "responses: 0.0000 nats" in _metrics({"drift": {"kl_nats_per_token": -4e-5}})


def test_labels_at_line_ends_do_not_overlap() -> None:
    places = spread([100.0, 100.0, 101.0, 20.0])
    assert places[3] == 20.0
    ordered = sorted(places)
    assert min(b - a for a, b in pairwise(ordered)) >= LABEL_GAP - 1e-9


@pytest.mark.parametrize(
    "points",
    [((0.0, 0.0),), ((1.0, 2.0), (2.0, 2.0)), tuple((float(i), -float(i)) for i in range(60))],
)
def test_every_shape_of_line_draws(points: tuple[tuple[float, float], ...]) -> None:
    drawn = line_chart("a", "A", [Line("x", points, "c-one"), Line("", (), "c-one")], say=figure)
    coordinates = [float(v) for v in re.findall(r'(?:cx|cy|x|y)="([-\d.]+)"', drawn)]
    assert drawn.startswith("<svg") and all(-1 <= v <= 361 for v in coordinates)
    assert line_chart("a", "A", [Line("x", (), "c-one")], say=figure) == ""
