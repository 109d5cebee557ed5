"""What to be wary of in a run, in words: each rule is a threshold and what can be done about it."""

from __future__ import annotations

import statistics

from gft_lite.report.findings import margin
from gft_lite.report.numbers import number, percent, series, total
from gft_lite.report.record import Record, responses
from gft_lite.runs import damage_report
from gft_lite.runs.events import StepEvent
from gft_lite.training.runaway import runaway_events

MANY_DEGENERATE = 0.5
MANY_TRUNCATED = 0.2
MANY_UNPARSED = 0.2
RISE, FALL = 0.05, 0.03  # of reward, of held-out accuracy
LOST_SKILL = 0.1
READ_STEPS = 20  # stored steps looked at, evenly spread


def warnings(record: Record) -> list[str]:
    """What to be wary of, in words; empty where nothing stands out."""
    found = [_degenerate(record), _truncated(record), _unparsed(record), _expert_only(record)]
    found += [_overfitting(record), _lost_skill(record), *_runaway(record)]
    broken = sum(bool(e.get("skipped_update") and e.get("trained_responses")) for e in record.steps)
    if broken:
        found.append(
            f"{_steps(broken)} had a gradient that was not finite and changed nothing. If it goes "
            "on, lower train.learning_rate or use model.dtype=float32."
        )
    empty = sum(e.get("trained_responses") == 0 for e in record.steps)
    if empty:
        found.append(f"{_steps(empty)} had no group with contrast and changed nothing.")
    if timeouts := total(record.steps, "timeouts"):
        found.append(f"{_answers(timeouts)} took too long to check and scored nothing.")
    errors = total(record.steps, "reward_errors") + sum(
        number(record.last_eval, f"target.{name}") or 0 for name in ("errors", "sampled_errors")
    )
    if errors:
        first = next((f" ({e.get('part')}: {e.get('message')})" for e in record.reward_errors), "")
        found.append(f"The reward broke on {_answers(errors)}{first}; log.txt has the traceback.")
    if rejected := total(record.steps, "rejected_experts"):
        found.append(
            f"In {rejected:,.0f} groups without contrast the expert earned nothing and was not "
            "imitated. `gft-lite data check FILE --reward …` lists such rows; "
            "group.degenerate=imitate_any imitates them as well."
        )
    if long := total(record.steps, "demonstrations_too_long"):
        found.append(
            f"{long:,.0f} times a demonstration was longer than group.max_new_tokens and was left "
            "out of its group."
        )
    last = {e.get("setting"): e.get("after") for e in record.out_of_memory}
    if last:
        sizes = " and ".join(f"{setting}={size}" for setting, size in last.items())
        found.append(
            f"Memory ran out {len(record.out_of_memory)} times and the steps were repeated with "
            f"smaller batches. A next run of this kind may start with {sizes}."
        )
    found += [line for line in damage_report(record.run) if line != record.status.get("message")]
    return [sentence for sentence in found if sentence]


def _degenerate(record: Record) -> str:
    groups = total(record.steps, "groups")
    share = total(record.steps, "degenerate_groups") / groups if groups else 0.0
    if share <= MANY_DEGENERATE:
        return ""
    return (
        f"{percent(share)} of the groups had equal rewards and taught nothing. Prompts of middling "
        "difficulty, more self answers or group.degenerate=resample give more contrast."
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
    chosen = steps[:: max(1, len(steps) // READ_STEPS)]
    only, contrasted = 0, 0
    for group in (g for step in chosen for g in record.groups(step)):
        found = responses(group)
        praised = {r.get("source") for r in found if (number(r, "advantage") or 0) > 0}
        if praised and any(r.get("source") == "self" for r in found):
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
    kept = number(record.last_eval, "target.greedy_accuracy")
    fall = max(held_out) - (held_out[-1] if kept is None else kept)
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
