"""Groups: what is in them and in which order, and what happens to those without contrast.

The scorer is a real one: `exact` asks for the very answer, so a text is worth 1 or 0.
"""

import random
from collections.abc import Callable, Iterator, Sequence

import pytest

from gft_lite.config import GroupConfig
from gft_lite.groups import BuiltGroups, Sampler, build_groups, score_groups
from gft_lite.rewards import Scorer, build_scorer
from gft_lite.training.metrics import rollout_metrics
from gft_lite.types import SOURCES, Example, Group, Message, Response, Source

RIGHT, WRONG = "right", "wrong"


@pytest.fixture
def scorer() -> Iterator[Scorer]:
    with build_scorer("exact") as built:
        yield built


def example(
    experts: Sequence[str] = (RIGHT,), teachers: Sequence[str] = (), prompt: str = "?"
) -> Example:
    return Example((Message("user", prompt),), tuple(experts), tuple(teachers), RIGHT)


class Answers:
    """A policy that answers from a list, over and over; it remembers what it was asked."""

    def __init__(self, *texts: str) -> None:
        self.texts = texts
        self.asked: list[tuple[list[str], int]] = []
        self._given = 0

    def __call__(self, examples: Sequence[Example], n: int) -> list[list[Response]]:
        self.asked.append(([e.question for e in examples], n))
        return [[self._next() for _ in range(n)] for _ in examples]

    def _next(self) -> Response:
        text = self.texts[self._given % len(self.texts)]
        self._given += 1
        return Response(text, "self", (self._given,))


def build(
    examples: Sequence[Example],
    scorer: Scorer | None,
    sampler: Sampler,
    *,
    sources: Sequence[Source] = SOURCES,
    fits: Callable[[str], bool] = lambda text: True,
    seed: int = 0,
    **settings: object,
) -> BuiltGroups:
    config = GroupConfig.model_validate({"expert": 1, "teacher": 1, "self": 2, **settings})
    return build_groups(
        examples,
        config,
        sources=sources,
        scorer=scorer,
        sampler=sampler,
        fits=fits,
        rng=random.Random(seed),
    )


def sources_of(group: Group) -> list[str]:
    return [r.source for r in group.responses]


# --- composition ---


def test_order_is_expert_teacher_self_and_prompts_keep_theirs(scorer: Scorer) -> None:
    examples = [
        example(teachers=["t"], prompt="first"),
        example(experts=[], teachers=["t"], prompt="second"),
        example(prompt="third"),
    ]
    sampler = Answers("a", "b", "c", "d", "e", "f")
    built = build(examples, scorer, sampler)
    assert [g.example for g in built.groups] == examples
    assert sampler.asked == [(["first", "second", "third"], 2)], "one call for all prompts"
    assert [sources_of(g) for g in built.groups] == [
        ["expert", "teacher", "self", "self"],
        ["teacher", "self", "self"],
        ["expert", "self", "self"],
    ]
    own = [[r.text for r in g.responses if r.source == "self"] for g in built.groups]
    assert own == [["a", "b"], ["c", "d"], ["e", "f"]]
    assert built.groups[0].responses[2].token_ids == (1,), "sampled ids are kept"


def test_no_more_demonstrations_than_asked_for_and_chosen_by_the_seed(scorer: Scorer) -> None:
    many = example(experts=[f"e{i}" for i in range(9)], teachers=[f"t{i}" for i in range(9)])

    def chosen(seed: int) -> list[str]:
        group = build([many], scorer, Answers(WRONG), seed=seed, expert=2, teacher=3).groups[0]
        assert sources_of(group) == ["expert"] * 2 + ["teacher"] * 3 + ["self"] * 2
        return [r.text for r in group.responses[:5]]

    assert chosen(1) == chosen(1)
    assert len({tuple(chosen(seed)) for seed in range(5)}) > 1
    assert all(len(set(chosen(seed))) == 5 for seed in range(5)), "none of them twice"


@pytest.mark.parametrize(
    ("sources", "wanted"),
    [
        (("expert",), ["expert"]),
        (("self",), ["self", "self"]),
        (("expert", "self"), ["expert", "self", "self"]),
    ],
)
def test_other_sources_than_the_method_trains_on_stay_out(
    scorer: Scorer, sources: Sequence[Source], wanted: list[str]
) -> None:
    sampler = Answers(WRONG)
    built = build([example(teachers=["t"])], scorer, sampler, sources=sources)
    assert sources_of(built.groups[0]) == wanted
    assert bool(sampler.asked) == ("self" in sources), "nothing is sampled in vain"


def test_too_long_demonstrations_are_left_out_and_counted(scorer: Scorer) -> None:
    one = example(experts=["x" * 9, RIGHT], teachers=["y" * 9, "z" * 9])
    built = build([one, one], scorer, Answers(WRONG), fits=lambda text: len(text) < 9, expert=2)
    assert [r.text for r in built.groups[0].responses[:1]] == [RIGHT]
    assert sources_of(built.groups[0]) == ["expert", "self", "self"]
    assert built.counts.too_long == 6


def test_sources_that_are_not_wanted_are_not_counted_as_too_long(scorer: Scorer) -> None:
    one = example(teachers=["y" * 9])
    built = build([one], scorer, Answers(WRONG), fits=lambda text: len(text) < 9, teacher=0)
    assert built.counts.too_long == 0


# --- scores and advantages ---


def test_worked_advantages_of_a_mixed_group(scorer: Scorer) -> None:
    """R = [1, 0, 1, 0]: mean 1/2, std √(4·¼/3) = 0.577350; ±½/0.577351 = ±0.866024."""
    built = build([example(teachers=[WRONG])], scorer, Answers(RIGHT, WRONG))
    group = built.groups[0]
    assert [s.value for s in group.scores] == [1, 0, 1, 0]
    assert group.advantages == pytest.approx([0.866024, -0.866024, 0.866024, -0.866024], abs=1e-6)
    assert built.counts.degenerate == 0


def test_without_a_scorer_every_advantage_is_one() -> None:
    built = build([example(), example(["a", "b"])], None, Answers("?"), sources=["expert"])
    assert [g.advantages for g in built.groups] == [(1.0,), (1.0,)]
    assert all(g.scores == () for g in built.groups)
    assert built.counts.degenerate == 0, "without rewards nothing is degenerate"


def test_a_group_of_one_teaches_nothing(scorer: Scorer) -> None:
    built = build([example()], scorer, Answers("?"), self=0)
    assert [s.value for s in built.groups[0].scores] == [1.0]
    assert built.groups[0].advantages == (0.0,)
    assert built.counts.degenerate == 1


def test_a_prompt_without_any_response_is_a_group_without_contrast(scorer: Scorer) -> None:
    empty, full = build([example([]), example()], scorer, Answers(WRONG), self=0, expert=2).groups
    assert (empty.responses, empty.scores, empty.advantages) == ((), (), ())
    assert len(full.responses) == 1


def test_anchored_expert_gets_the_best_reward_of_its_group(scorer: Scorer) -> None:
    """Expert wrong, self [1, 0, 0]: as earned [0, 1, 0, 0], anchored [1, 1, 0, 0]."""
    group = Group(
        example([WRONG]),
        tuple(
            Response(text, source)
            for text, source in (
                (WRONG, "expert"),
                (RIGHT, "self"),
                (WRONG, "self"),
                (WRONG, "self"),
            )
        ),
    )
    earned = score_groups([group], scorer)[0]
    anchored = score_groups([group], scorer, anchor_expert=True)[0]
    assert earned.advantages == pytest.approx([-0.5, 1.5, -0.5, -0.5], abs=1e-5)
    assert anchored.advantages == pytest.approx([0.866, 0.866, -0.866, -0.866], abs=1e-3)
    assert earned.scores == anchored.scores, "the score stays what was earned"
    again = build([example([WRONG])], scorer, Answers(RIGHT, WRONG), anchor_expert=True)
    assert again.groups[0].advantages[0] > 0


def test_anchoring_where_nobody_is_right_changes_nothing(scorer: Scorer) -> None:
    built = build([example([WRONG])], scorer, Answers(WRONG), anchor_expert=True)
    assert built.groups[0].advantages == (0.0, 0.0, 0.0)


# --- groups without contrast ---


def test_skip_leaves_them_out_and_counts(scorer: Scorer) -> None:
    sampler = Answers(RIGHT, RIGHT, WRONG, RIGHT)
    built = build([example(), example()], scorer, sampler, degenerate="skip")
    assert built.groups[0].advantages == (0.0, 0.0, 0.0)
    assert any(built.groups[1].advantages)
    counts = built.counts
    assert (counts.degenerate, counts.resampled, counts.imitated) == (1, 0, 0)
    assert len(sampler.asked) == 1


def test_resample_draws_again_for_those_groups_only(scorer: Scorer) -> None:
    """First draw: [1 1] and [0 1]; the first prompt draws again and gets [1 0]."""
    examples = [example(prompt="easy"), example(prompt="hard")]
    sampler = Answers(RIGHT, RIGHT, WRONG, RIGHT, RIGHT, WRONG)
    built = build(examples, scorer, sampler, degenerate="resample", resample_tries=5)
    assert sampler.asked == [(["easy", "hard"], 2), (["easy"], 2)]
    assert [r.text for r in built.groups[0].responses] == [RIGHT, RIGHT, WRONG]
    assert [r.text for r in built.groups[1].responses] == [RIGHT, WRONG, RIGHT], "untouched"
    assert all(any(g.advantages) for g in built.groups)
    assert (built.counts.resampled, built.counts.degenerate) == (1, 0)


def test_resample_gives_up_after_its_tries(scorer: Scorer) -> None:
    sampler = Answers(RIGHT)
    built = build([example()] * 3, scorer, sampler, degenerate="resample", resample_tries=2)
    assert len(sampler.asked) == 3
    assert built.counts.resampled == 6, "three groups, twice"
    assert built.counts.degenerate == 3
    assert all(g.advantages == (0.0, 0.0, 0.0) for g in built.groups)


def test_resample_without_self_answers_has_nothing_to_draw(scorer: Scorer) -> None:
    sampler = Answers(RIGHT)
    built = build([example(teachers=[RIGHT])], scorer, sampler, degenerate="resample", self=0)
    assert sampler.asked == []
    assert (built.counts.resampled, built.counts.degenerate) == (0, 1)


def test_imitate_follows_the_expert_alone(scorer: Scorer) -> None:
    examples = [example(teachers=[RIGHT]), example([], [RIGHT])]
    built = build(examples, scorer, Answers(RIGHT), degenerate="imitate")
    assert built.groups[0].advantages == (1.0, 0.0, 0.0, 0.0)
    assert built.groups[1].advantages == (0.0, 0.0, 0.0), "there is no expert to imitate"
    assert (built.counts.degenerate, built.counts.imitated) == (2, 1)


def test_an_expert_that_earned_nothing_is_not_imitated_unless_asked(scorer: Scorer) -> None:
    """Two groups of equal rewards: [1 1 1], whose expert is right, and [0 0 0], whose is not."""
    examples = [example(prompt="good"), example([WRONG], prompt="bad")]

    def built(**settings: object) -> BuiltGroups:
        return build(examples, scorer, Answers(RIGHT, RIGHT, WRONG, WRONG), **settings)

    careful = built(degenerate="imitate")
    assert [g.advantages for g in careful.groups] == [(1.0, 0.0, 0.0), (0.0, 0.0, 0.0)]
    counts = careful.counts
    assert (counts.degenerate, counts.imitated, counts.rejected_experts) == (2, 1, 1)
    figures = rollout_metrics(careful)
    assert (figures["imitated_groups"], figures["rejected_experts"]) == (1, 1)
    asked = built(degenerate="imitate_any")
    assert [g.advantages for g in asked.groups] == [(1.0, 0.0, 0.0)] * 2
    assert (asked.counts.imitated, asked.counts.rejected_experts) == (2, 0)


def test_an_anchored_expert_is_imitated_for_the_reward_it_is_given(scorer: Scorer) -> None:
    """The expert earned 0 and is given the best reward, 1: [1 1 1], and then [0 0 0]."""
    examples = [example([WRONG], prompt="one"), example([WRONG], prompt="two")]
    sampler = Answers(RIGHT, RIGHT, WRONG, WRONG)
    found = build(examples, scorer, sampler, degenerate="imitate", anchor_expert=True)
    assert [g.advantages for g in found.groups] == [(1.0, 0.0, 0.0), (0.0, 0.0, 0.0)]


def test_time_is_told_apart(scorer: Scorer) -> None:
    built = build([example()], scorer, Answers(WRONG))
    assert built.rollout_seconds >= 0 and built.scoring_seconds > 0


def test_only_the_contrasted_sources_are_standardised_together(scorer: Scorer) -> None:
    """CHORD: self responses [1, 0]: ±1/√2·(1/(1+ε/std)) = ±0.7071; the wrong expert keeps 1."""
    config = GroupConfig.model_validate({"expert": 1, "self": 2})
    built = build_groups(
        [example(experts=[WRONG])],
        config,
        sources=("expert", "self"),
        contrasted=("self",),
        scorer=scorer,
        sampler=Answers(RIGHT, WRONG),
        fits=lambda text: True,
        rng=random.Random(0),
    )
    assert built.groups[0].advantages == pytest.approx((1.0, 0.7071, -0.7071), abs=1e-4)
    assert built.counts.degenerate == 0


def test_equal_self_answers_are_degenerate_whatever_the_expert_keeps(scorer: Scorer) -> None:
    config = GroupConfig.model_validate({"expert": 1, "self": 2})
    built = build_groups(
        [example()],
        config,
        sources=("expert", "self"),
        contrasted=("self",),
        scorer=scorer,
        sampler=Answers(WRONG),
        fits=lambda text: True,
        rng=random.Random(0),
    )
    assert built.groups[0].advantages == (1.0, 0.0, 0.0)
    assert built.counts.degenerate == 1
