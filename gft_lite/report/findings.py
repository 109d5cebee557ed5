"""What the figures of a run or a comparison amount to, in sentences: headlines and warnings.

A headline does not depend on which method ought to win. Differences that the number of test
problems cannot carry are called too close to call. A warning is a threshold and what can be done.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from gft_lite.report.numbers import look, number, percent, series, total
from gft_lite.report.panels import label
from gft_lite.report.record import Record, responses
from gft_lite.runs import damage_report
from gft_lite.runs.events import StepEvent
from gft_lite.training.runaway import runaway_events

Row = Mapping[str, Any]


def margin(share: float, problems: float | None) -> float:
    """Two standard errors of a difference between two accuracies near `share`.

    2·√(2·p·(1−p)/n), each method measured on n problems and taken as independent; 0 where n is
    unknown.
    """
    if not problems:
        return 0.0
    # nobody right of n, or everybody, is no certainty: count at least one the other way
    p = min(max(share, 1 / problems), 1 - 1 / problems) if problems > 1 else 0.5
    return 2 * math.sqrt(2 * p * (1 - p) / problems)


def methods_headline(
    rows: Sequence[Row], problems: float | None, old_problems: float | None
) -> str:
    """One sentence: who learned the target best and who kept most of the old skill."""
    trained = [row for row in rows if row.get("method") != "base"]
    base = next((row for row in rows if row.get("method") == "base"), {})
    leaders = _leaders(trained, "target_greedy", problems)
    old_leaders = _leaders(trained, "old_skill_greedy", old_problems)
    before, before_old = number(base, "target_greedy"), number(base, "old_skill_greedy")
    if not leaders:
        return "No method was measured on the target."
    best = number(leaders[0], "target_greedy") or 0.0
    since = f", from {percent(before)} before training" if before is not None else ""
    if before is not None and best - before <= margin((best + before) / 2, problems):
        first = f"No method clearly improved on the base model's {percent(before)} of the target"
    elif len(leaders) > 1:
        first = f"On the target, {_listed(leaders, 'target_greedy')} are too close to call{since}"
    else:
        first = f"{_name(leaders[0])} learned the target best: {percent(best)}{since}"
    if not old_leaders or before_old == 0:  # nothing to keep
        return f"{first}."
    return f"{first}; {_retention_sentence(old_leaders, leaders, before_old)}."


def _retention_sentence(
    old_leaders: Sequence[Row], leaders: Sequence[Row], before: float | None
) -> str:
    share = number(old_leaders[0], "old_skill_greedy") or 0.0
    since = f", from {percent(before)}" if before is not None else ""
    if len(old_leaders) > 1:
        return f"on the old skill, {_listed(old_leaders, 'old_skill_greedy')} are too close to call"
    name = _name(old_leaders[0])
    if before is not None and share >= before:
        return f"{name} lost nothing of the old skill ({percent(share)})"
    also = f"{name} also" if [old_leaders[0]] == list(leaders) else name
    return f"{also} kept most of the old skill: {percent(share)}{since}"


def _leaders(rows: Sequence[Row], key: str, problems: float | None) -> list[Row]:
    """The best row and those that cannot be told from it, best first."""
    ranked = [(value, row) for row in rows if (value := number(row, key)) is not None]
    ranked.sort(key=lambda pair: -pair[0])
    best = ranked[0][0] if ranked else 0.0
    return [row for value, row in ranked if best - value <= margin((best + value) / 2, problems)]


def _name(row: Row) -> str:
    return label(str(row.get("method", "")))


def _listed(rows: Sequence[Row], key: str) -> str:
    named = [f"{_name(row)} ({percent(number(row, key))})" for row in rows]
    return f"{', '.join(named[:-1])} and {named[-1]}"


# --- one run ------------------------------------------------------------------------------------


def run_headline(record: Record) -> str:
    """One sentence about the state of the run."""
    step_count = len(record.steps)
    all_steps = number(record.status, "steps") or number(record.config, "train.steps")
    of = f" of {all_steps:.0f}" if all_steps else ""
    progress = {
        "finished": f"Finished after {step_count} step{'s' * (step_count != 1)}",
        "stopped": f"Stopped after {step_count}{of} steps",
        "failed": f"Failed after {step_count}{of} steps",
        "interrupted": f"Interrupted after {step_count}{of} steps",
        "damaged": f"Damaged: {step_count}{of} steps can be read",
        "running": f"Running: {step_count}{of} steps done",
    }.get(record.state, "Not started yet")
    target = number(record.last_eval, "target.greedy_accuracy")
    if target is None:
        return f"{progress}."
    before = number(record.first_eval, "target.greedy_accuracy")
    since = f", {percent(before)} before training" if before is not None and step_count else ""
    old = number(record.last_eval, "old_skill.greedy_accuracy")
    retention = f"; {percent(old)} on the old skill" if old is not None else ""
    return f"{progress}: {percent(target)} of held-out problems right{since}{retention}."


def message(record: Record) -> str:
    """The message of a run that ended early; empty if it left none."""
    return str(look(record.status, "message") or "") if record.state != "finished" else ""


MANY_DEGENERATE = 0.5
MANY_TRUNCATED = 0.2
MANY_UNPARSED = 0.2
RISE, FALL = 0.05, 0.03  # of reward, of held-out accuracy
LOST_SKILL = 0.1
READ_STEPS = 20  # stored steps looked at, evenly spread


def warnings(record: Record) -> list[str]:
    """What to be wary of, in words; empty where nothing stands out."""
    sentences = [_degenerate(record), _truncated(record), _unparsed(record), _expert_only(record)]
    sentences += [_overfitting(record), _lost_skill(record), *_runaway(record)]
    broken = sum(bool(e.get("skipped_update") and e.get("trained_responses")) for e in record.steps)
    if broken:
        sentences.append(
            f"{_steps(broken)} had a gradient that was not finite and changed nothing. If it goes "
            "on, lower train.learning_rate or use model.dtype=float32."
        )
    empty = sum(e.get("trained_responses") == 0 for e in record.steps)
    if empty:
        sentences.append(f"{_steps(empty)} had no group with contrast and changed nothing.")
    if timeouts := total(record.steps, "timeouts"):
        sentences.append(f"{_answers(timeouts)} took too long to check and scored nothing.")
    errors = total(record.steps, "reward_errors") + sum(
        number(record.last_eval, f"target.{name}") or 0 for name in ("errors", "sampled_errors")
    )
    if errors:
        first = next((f" ({e.get('part')}: {e.get('message')})" for e in record.reward_errors), "")
        sentences.append(
            f"The reward broke on {_answers(errors)}{first}; log.txt has the traceback."
        )
    if rejected := total(record.steps, "rejected_experts"):
        sentences.append(
            f"In {rejected:,.0f} groups without contrast the expert earned nothing and was not "
            "imitated. `gft-lite data check FILE --reward …` lists such rows; "
            "group.degenerate=imitate_any imitates them as well."
        )
    if long := total(record.steps, "demonstrations_too_long"):
        sentences.append(
            f"{long:,.0f} times a demonstration was longer than group.max_new_tokens and was left "
            "out of its group."
        )
    last = {e.get("setting"): e.get("after") for e in record.out_of_memory}
    if last:
        sizes = " and ".join(f"{setting}={size}" for setting, size in last.items())
        sentences.append(
            f"Memory ran out {len(record.out_of_memory)} times and the steps were repeated with "
            f"smaller batches. A next run of this kind may start with {sizes}."
        )
    sentences += [
        line for line in damage_report(record.run) if line != record.status.get("message")
    ]
    return [sentence for sentence in sentences if sentence]


def _degenerate(record: Record) -> str:
    groups = total(record.steps, "groups")
    share = total(record.steps, "degenerate_groups") / groups if groups else 0.0
    if share <= MANY_DEGENERATE:
        return ""
    return (
        f"{percent(share)} of the groups had equal rewards and taught nothing. Prompts of middling "
        "difficulty, more self responses or group.degenerate=resample give more contrast."
    )


def _truncated(record: Record) -> str:
    shares = [value for _, value in series(record.steps, "truncated_share")]
    share = statistics.fmean(shares) if shares else 0.0
    if share <= MANY_TRUNCATED:
        return ""
    return (
        f"{percent(share)} of self responses hit the length limit and were scored as they "
        "stood. Raise group.max_new_tokens, or check that the model ends its answers."
    )


def _unparsed(record: Record) -> str:
    size = sum(number(record.config, f"group.{s}") or 0 for s in ("expert", "teacher", "self"))
    answers = total(record.steps, "groups") * size
    share = total(record.steps, "unparsed") / answers if answers else 0.0
    if share <= MANY_UNPARSED:
        return ""
    return (
        f"At least {percent(share)} of the answers could not be read by the reward and scored "
        "nothing. Check that the reward looks for the form in which the data answers."
    )


def _expert_only(record: Record) -> str:
    """Among groups with contrast: is imitation all there is to learn from?"""
    steps = record.run.group_steps()
    searched = steps[:: max(1, len(steps) // READ_STEPS)]
    only, contrasted = 0, 0
    for group in (g for step in searched for g in record.groups(step)):
        group_responses = responses(group)
        praised = {r.get("source") for r in group_responses if (number(r, "advantage") or 0) > 0}
        if praised and any(r.get("source") == "self" for r in group_responses):
            contrasted += 1
            only += praised == {"expert"}
    if not contrasted or only <= contrasted / 2:
        return ""
    return (
        f"In {percent(only / contrasted)} of the groups looked at, the expert was the only answer "
        "that earned a positive advantage: so far this is imitation. Easier prompts first, or a "
        "short SFT run before, give self responses a chance."
    )


def _overfitting(record: Record) -> str:
    reward = [value for _, value in series(record.steps, "reward_self")]
    held_out = [value for _, value in series(record.evals, "target.greedy_accuracy")]
    third = len(reward) // 3
    if not third or len(held_out) < 2:
        return ""
    rise = statistics.fmean(reward[-third:]) - statistics.fmean(reward[:third])
    final_accuracy = number(record.last_eval, "target.greedy_accuracy")
    fall = max(held_out) - (held_out[-1] if final_accuracy is None else final_accuracy)
    noise = margin(max(held_out), number(record.last_eval, "target.n")) / 2
    if rise <= RISE or fall <= max(FALL, noise):
        return ""
    return (
        f"The training reward rose by {rise:.2f} while held-out accuracy fell by "
        f"{100 * fall:.1f} points from its best: the model may be learning the reward or the "
        "training prompts, not the skill. train.keep_best=true keeps the best adapter of a run."
    )


def _lost_skill(record: Record) -> str:
    old = [value for _, value in series(record.evals, "old_skill.greedy_accuracy")]
    last = number(record.last_eval, "old_skill.greedy_accuracy")
    if len(old) < 2 or last is None or old[0] - last <= LOST_SKILL:
        return ""
    return (
        f"The old skill fell from {percent(old[0])} to {percent(last)}. A lower learning rate, "
        "fewer steps or method.kl_coef may keep more of it."
    )


def _runaway(record: Record) -> list[str]:
    """The rule that the trainer applies, so that older runs are judged by it too."""
    return [
        f"{stage.name}: {event.message}" if record.stages else event.message
        for stage in record.stages or (record,)
        for event in runaway_events(map(StepEvent.from_dict, stage.steps))
    ]


def _steps(count: float) -> str:
    return f"{count:,.0f} step{'s' * (count != 1)}"


def _answers(count: float) -> str:
    return f"{count:,.0f} answer{'s' * (count != 1)}"
