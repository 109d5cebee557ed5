"""Word problems for the embedded demo model: the skills it is born with, and the one it lacks.

A `Story` has a start and some events; each part needs one line of arithmetic. From stories come

    old skill      one part, answered in one line                  (the base model knows it)
                   or, more rarely, in the words of an expert or a teacher
    target skill   three parts, answered line by line              (the base model must learn it)
    neighbours     bare sums, chains of sums, finding one number
                   in a longer story, a few two-part stories       (so that the target is learnable)

Every function takes its own `random.Random`; nothing here has state. All numbers are integers from
0 to `LARGEST`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random

LARGEST = 120

NAMES = [
    "Anna",
    "Ben",
    "Cara",
    "Dan",
    "Ella",
    "Finn",
    "Gina",
    "Hugo",
    "Ida",
    "Jack",
    "Kim",
    "Leo",
    "Mia",
    "Noah",
    "Olga",
    "Paul",
]
THINGS = [
    "apples",
    "books",
    "cards",
    "coins",
    "eggs",
    "keys",
    "marbles",
    "nuts",
    "pens",
    "plums",
    "rings",
    "shells",
    "stamps",
    "toys",
]
BOXES = ["bags", "boxes", "jars", "rows"]


@dataclass(frozen=True)
class Part:
    """One sentence of a story and its arithmetic: `before op number`.

    `lead` opens the expert's line about it. The first part of a story that starts with a plain
    count has no arithmetic and is not a Part.
    """

    sentence: str
    lead: str
    before: int
    op: str
    number: int

    @property
    def after(self) -> int:
        """The count after this part; division is exact by construction."""
        return compute(self.before, self.op, self.number)

    @property
    def line(self) -> str:
        """The arithmetic, written out: `14+5=19`."""
        return f"{self.before}{self.op}{self.number}={self.after}"


@dataclass(frozen=True)
class Story:
    """A word problem: an opening sentence, parts, and a closing question."""

    opening: str
    parts: tuple[Part, ...]
    question: str
    name: str
    thing: str
    start: int

    @property
    def body(self) -> str:
        """The story without its question."""
        sentences = [self.opening, *(part.sentence for part in self.parts)]
        return " ".join(sentence for sentence in sentences if sentence)

    @property
    def prompt(self) -> str:
        """The story with its question."""
        return f"{self.body} {self.question}"

    @property
    def answer(self) -> int:
        """The number asked for."""
        return self.parts[-1].after


@dataclass(frozen=True)
class Task:
    """One prompt and the response to be learnt for it."""

    prompt: str
    response: str


def compute(left: int, op: str, right: int) -> int:
    """Integer arithmetic for the four signs used here; raises KeyError for another."""
    return {
        "+": left + right,
        "-": left - right,
        "*": left * right,
        "/": left // right,
    }[op]


def final(number: int) -> str:
    """The last line of every response."""
    return f"#### {number}"


# --- stories -----------------------------------------------------------------------------------


def _gain(rng: Random, name: str, other: str, thing: str, count: int) -> Part | None:
    number = rng.randint(2, 40)
    if count + number > 99:
        return None
    sentence, lead = rng.choice(
        [
            (f"{name} buys {number} more {thing}.", "After buying"),
            (f"{name} finds {number} {thing}.", "After finding"),
            (f"{name} gets {number} {thing} from {other}.", "With the gift"),
        ]
    )
    return Part(sentence, lead, count, "+", number)


def _loss(rng: Random, name: str, other: str, thing: str, count: int) -> Part | None:
    number = rng.randint(2, 40)
    if number >= count:
        return None
    sentence, lead = rng.choice(
        [
            (f"{name} loses {number} {thing}.", "After losing"),
            (f"{name} sells {number} {thing}.", "After selling"),
            (f"{name} gives {other} {number} {thing}.", "After giving"),
        ]
    )
    return Part(sentence, lead, count, "-", number)


def _times(rng: Random, name: str, other: str, thing: str, count: int) -> Part | None:
    number = rng.randint(2, 5)
    if count * number > LARGEST or count > 30:
        return None
    return Part(
        f"{other} has {number} times as many {thing} as {name}.", f"For {other}", count, "*", number
    )


def _share(rng: Random, name: str, other: str, thing: str, count: int) -> Part | None:
    divisors = [d for d in range(2, 7) if count % d == 0 and count // d <= 20]
    if not divisors:
        return None
    number = rng.choice(divisors)
    return Part(
        f"{name} shares the {thing} among {number} friends.", "For each", count, "/", number
    )


Event = Callable[[Random, str, str, str, int], Part | None]
MIDDLE_EVENTS: tuple[Event, ...] = (_gain, _loss)
LAST_EVENTS: tuple[Event, ...] = (_gain, _gain, _loss, _loss, _times, _share)


def make_story(rng: Random, n_parts: int) -> Story:
    """A story that needs `n_parts` lines of arithmetic."""
    while True:
        story = _try_story(rng, n_parts)
        if story is not None:
            return story


def _try_story(rng: Random, n_parts: int) -> Story | None:
    name, other = rng.sample(NAMES, 2)
    thing = rng.choice(THINGS)
    parts: list[Part] = []
    if rng.random() < 0.3:
        box, n_boxes, each = rng.choice(BOXES), rng.randint(2, 9), rng.randint(2, 9)
        sentence = f"{name} has {n_boxes} {box} with {each} {thing} in each."
        parts.append(Part(sentence, "At first", n_boxes, "*", each))
        opening, count = "", n_boxes * each
    else:
        count = rng.randint(3, 60)
        opening = f"{name} has {count} {thing}."
    start = count
    question = f"How many {thing} does {name} have now?"
    while len(parts) < n_parts:
        is_last = len(parts) == n_parts - 1
        event = rng.choice(LAST_EVENTS if is_last else MIDDLE_EVENTS)
        part = event(rng, name, other, thing, count)
        if part is None:
            return None
        parts.append(part)
        count = part.after
        if event is _times:
            question = f"How many {thing} does {other} have?"
        elif event is _share:
            question = f"How many {thing} does each friend get?"
    return Story(opening, tuple(parts), question, name, thing, start)


# --- responses to stories ----------------------------------------------------------------------


def old_skill_response(story: Story) -> str:
    """The base model's manner: one line of bare arithmetic."""
    return f"{story.parts[0].line}\n{final(story.answer)}"


def expert_response(story: Story) -> str:
    """The expert's manner: a short sentence for each part."""
    lines = [f"{part.lead}, {part.line} {story.thing}." for part in story.parts]
    return "\n".join([*lines, final(story.answer)])


def _numbered(story: Story) -> str:
    lines = [f"Step {i}: {part.line}" for i, part in enumerate(story.parts, 1)]
    return "\n".join([*lines, final(story.answer)])


def _first_then(story: Story) -> str:
    words = ["First", *["then"] * (len(story.parts) - 2), "last"]
    clauses = [f"{word} {part.line}" for word, part in zip(words, story.parts, strict=False)]
    return ", ".join(clauses) + f".\n{final(story.answer)}"


def _running_count(story: Story) -> str:
    lines = [f"{part.line}." for part in story.parts]
    lines[1:] = [f"That makes {line}" for line in lines[1:]]
    return "\n".join([*lines, f"So the answer is {story.answer}.", final(story.answer)])


def _therefore(story: Story) -> str:
    lines = [f"{part.line}, so {part.after} {story.thing}" for part in story.parts]
    return "\n".join([*lines, final(story.answer)])


TEACHER_STYLES: tuple[Callable[[Story], str], ...] = (
    _numbered,
    _first_then,
    _running_count,
    _therefore,
)


WORDED_STYLES = (expert_response, *TEACHER_STYLES)


def corrupt(rng: Random, story: Story, kinds: Sequence[str] = ("slip", "sign")) -> Story:
    """The same story solved wrongly, consistent from the mistake on, with another final number.

    Kinds: `slip` (one result is miscalculated), `sign` (plus and minus confused), `skip` (one event
    is forgotten). A slip is kept as a part whose result is off; see `_SlippedPart`.
    """
    while True:
        wrong = _try_corrupt(rng, story, rng.choice(kinds))
        if wrong is not None and wrong.answer != story.answer:
            return wrong


@dataclass(frozen=True)
class _SlippedPart(Part):
    """A part whose result is off by `error`."""

    error: int = 0

    @property
    def after(self) -> int:
        return compute(self.before, self.op, self.number) + self.error


def _try_corrupt(rng: Random, story: Story, kind: str) -> Story | None:
    where = rng.randrange(len(story.parts))
    if kind == "skip" and where == 0:
        return None
    parts: list[Part] = []
    count = story.parts[0].before
    for i, part in enumerate(story.parts):
        if i == where and kind == "skip":
            continue
        part = replace(part, before=count)
        if i == where and kind == "slip":
            error = rng.choice([-10, -2, -1, 1, 2, 10])
            part = _SlippedPart(part.sentence, part.lead, count, part.op, part.number, error)
        elif i == where and kind == "sign":
            if part.op not in "+-":
                return None
            part = replace(part, op="-" if part.op == "+" else "+")
        if part.op == "/" and count % part.number:
            return None
        count = part.after
        if not 0 < count <= LARGEST:
            return None
        parts.append(part)
    return replace(story, parts=tuple(parts))


# --- tasks of the base model -------------------------------------------------------------------


def _old_skill(rng: Random) -> Task:
    story = make_story(rng, 1)
    return Task(story.prompt, old_skill_response(story))


def _old_skill_in_words(rng: Random) -> Task:
    """The same in anybody's manner: a base model has read all kinds of solutions."""
    story = make_story(rng, 1)
    return Task(story.prompt, rng.choice(WORDED_STYLES)(story))


def _random_sum(rng: Random, left: int | None = None) -> Part:
    """One bare operation within range; `left` fixes its first number."""
    while True:
        op = rng.choice("++--*/")
        before = rng.randint(2, 99) if left is None else left
        number = rng.randint(2, 9) if op in "*/" else rng.randint(2, 40)
        if op == "*" and left is None:
            before = rng.choice([rng.randint(2, 9), rng.randint(2, 30)])
        if op == "/" and before % number:
            continue
        part = Part("", "", before, op, number)
        if 0 < part.after <= LARGEST:
            return part


def _sums(rng: Random) -> Task:
    """Several independent sums: the arithmetic facts, many to a sequence."""
    sums = [_random_sum(rng) for _ in range(rng.randint(1, 5))]
    asked = "; ".join(f"{s.before}{s.op}{s.number}" for s in sums)
    return Task(f"Compute: {asked}", "; ".join(s.line for s in sums))


def _chain(rng: Random) -> Task:
    """Sums that go on from one another, written without words."""
    parts = [_random_sum(rng)]
    for _ in range(rng.randint(1, 3)):
        parts.append(_random_sum(rng, left=parts[-1].after))
    asked = " then ".join([str(parts[0].before), *(f"{p.op}{p.number}" for p in parts)])
    return Task(f"Start with {asked}", "; ".join(p.line for p in parts))


def _find_number(rng: Random) -> Task:
    """A three-part story, asked only for a number that stands in it."""
    story = make_story(rng, 3)
    which = rng.randrange(4 if story.opening else 3)
    if story.opening and which == 3:
        return Task(f"{story.body} What is the first number?", final(story.start))
    part = story.parts[which]
    place = ("first", "second", "third")[which]
    return Task(f"{story.body} What is the {place} change?", f"{part.op}{part.number}")


def _one_part(rng: Random) -> Task:
    """A three-part story, asked only for the count after its first part."""
    story = make_story(rng, 3)
    question = f"How many {story.thing} did {story.name} have after the first step?"
    return Task(f"{story.body} {question}", f"{story.parts[0].line}\n{final(story.parts[0].after)}")


def _two_parts(rng: Random) -> Task:
    story = make_story(rng, 2)
    return Task(story.prompt, rng.choice(WORDED_STYLES)(story))


BASE_TASKS: dict[str, tuple[float, Callable[[Random], Task]]] = {
    "old_skill": (0.30, _old_skill),
    "old_skill_in_words": (0.12, _old_skill_in_words),
    "sums": (0.20, _sums),
    "chain": (0.12, _chain),
    "find_number": (0.10, _find_number),
    "one_part": (0.10, _one_part),
    "two_parts": (0.06, _two_parts),
}


def make_base_task(rng: Random) -> Task:
    """One task of the base model's training mixture."""
    weights = [weight for weight, _ in BASE_TASKS.values()]
    _, maker = rng.choices(list(BASE_TASKS.values()), weights)[0]
    return maker(rng)


# --- rows of the data files --------------------------------------------------------------------


def make_target_row(rng: Random, expert_is_wrong: bool, teacher_right_share: float) -> dict:
    """A target problem with one expert and three teacher responses in the canonical row format."""
    story = make_story(rng, 3)
    told = corrupt(rng, story) if expert_is_wrong else story
    teachers = []
    for style in rng.sample(TEACHER_STYLES, 3):
        right = rng.random() < teacher_right_share
        taught = story if right else corrupt(rng, story, ("slip", "sign", "skip"))
        teachers.append(style(taught))
    return {
        "prompt": story.prompt,
        "expert": expert_response(told),
        "teachers": teachers,
        "answer": str(story.answer),
        "right_expert": expert_response(story),
    }


def make_test_row(rng: Random, n_parts: int) -> dict:
    """A held-out problem of the target (three parts) or the old skill (one part)."""
    story = make_story(rng, n_parts)
    expert = old_skill_response(story) if n_parts == 1 else expert_response(story)
    return {"prompt": story.prompt, "expert": expert, "answer": str(story.answer)}
