"""What the experiments train: one `Variant` a line of a table, and which experiment shows which.

All start from the preset `tiny-cpu` at a constant learning rate: 8 prompts a step, groups of 1
expert + 3 teachers + 4 self responses, τ = 0.1. A variant names only what differs.
"""

from __future__ import annotations

from dataclasses import dataclass

STEPS = 100
DEMO_SIZES = (20, 50, 100, 200, 400)


@dataclass(frozen=True)
class Variant:
    """One way to train.

    rates: learning rates tried with seed 0; the best of them is taken for the other seeds.
    start: name of the variant whose adapter it continues, for pipelines.
    seeds: with which it is run.
    data: `shipped` (a fifth of the experts wrong), `clean`, `wrong-40`, `demos-N`, `shortcut` or
        `shortcut-verified`.
    """

    name: str
    label: str
    method: str
    rates: tuple[float, ...]
    settings: tuple[str, ...] = ()
    steps: int = STEPS
    start: str | None = None
    seeds: tuple[int, ...] = (0,)
    data: str = "shipped"


def group(expert: int, teacher: int, own: int) -> tuple[str, ...]:
    """Settings of a group's composition."""
    return (f"group.expert={expert}", f"group.teacher={teacher}", f"group.self={own}")


CHEAP = (3e-4, 1e-3, 2e-3)  # for methods that sample nothing: a run takes seconds
GFT_RATE = (5e-4,)  # best of 3e-4, 5e-4 and 7e-4 in benchmarks/results/tiny_seeds.jsonl
THREE = (0, 1, 2)
OWN_ONLY = group(0, 0, 8)

METHODS = (
    Variant("sft", "SFT", "sft", CHEAP, seeds=THREE),
    Variant("dft", "DFT", "dft", CHEAP, seeds=THREE),
    Variant("gft", "GFT", "gft", GFT_RATE, seeds=THREE),
    Variant("sft-mix", "SFT (mix)", "sft", CHEAP[1:], ("method.teachers=true",), seeds=THREE),
    Variant("asft", "ASFT", "asft", CHEAP, seeds=THREE),
    Variant("psft", "PSFT", "psft", CHEAP, ("train.updates_per_rollout=4",), seeds=THREE),
    Variant("grpo", "GRPO", "grpo", (5e-4, 1e-3), OWN_ONLY, seeds=THREE),
    Variant("luffy", "LUFFY", "luffy", (5e-4, 1e-3), seeds=THREE),
    Variant("chord-phi", "CHORD φ", "chord", (5e-4, 1e-3), group(1, 0, 7), seeds=THREE),
    Variant(
        "chord-mu",
        "CHORD μ",
        "chord",
        (5e-4, 1e-3),
        ("method.variant=mu", *group(1, 0, 7)),
        seeds=THREE,
    ),
    Variant("gft-no-mix", "GFT (no mix)", "gft", GFT_RATE, group(1, 0, 7), seeds=THREE),
)

ABLATIONS = (
    Variant(
        "no-gal", "w/o GAL", "gft", (5e-4, 1e-3), ("method.group_advantages=false",), seeds=THREE
    ),
    Variant("no-dcr", "w/o DCR", "gft", GFT_RATE, ("method.tau=0",), seeds=THREE),
)

# is it DCR on self responses that lets GFT end in noise? (page, "Why runs end in noise")
OWN_UNRECTIFIED = ("method.rectify=demonstrations",)
RECTIFY = (
    Variant("gft-demos-only", "DCR on demonstrations only", "gft", (5e-4, 1e-3), OWN_UNRECTIFIED,
            seeds=THREE),
    Variant("no-mix-demos-only", "… and no mix", "gft", GFT_RATE,
            (*OWN_UNRECTIFIED, *group(1, 0, 7))),
    Variant("sft-gft-demos-only", "SFT → the same", "gft", GFT_RATE, OWN_UNRECTIFIED, start="sft"),
)  # fmt: skip

# four responses a group, demonstrations : self responses
COMPOSITIONS = (
    Variant("mix-4-0", "4 : 0", "gft", GFT_RATE, group(1, 3, 0)),
    Variant("mix-3-1", "3 : 1", "gft", GFT_RATE, group(1, 2, 1)),
    Variant("mix-2-2", "2 : 2", "gft", GFT_RATE, group(1, 1, 2)),
    Variant("mix-1-3", "1 : 3", "gft", GFT_RATE, group(1, 0, 3)),
    Variant("mix-0-4", "0 : 4", "gft", GFT_RATE, group(0, 0, 4)),
)

TAUS = tuple(
    Variant(f"tau-{tau}", f"τ = {tau}", "gft", GFT_RATE, (f"method.tau={tau}",))
    for tau in ("0.3", "0.7", "1.0")
)

PIPELINES = (
    Variant("sft-grpo", "SFT → GRPO", "grpo", (5e-4,), OWN_ONLY, start="sft"),
    Variant("gft-grpo", "GFT → GRPO", "grpo", (5e-4,), OWN_ONLY, start="gft"),
    Variant("sft-gft", "SFT → GFT", "gft", (5e-4,), start="sft"),
    Variant("sft-gft-grpo", "SFT → GFT → GRPO", "grpo", (5e-4,), OWN_ONLY, start="sft-gft"),
)

LONG = (
    Variant("sft-long", "SFT, 800 steps", "sft", (3e-4,), steps=800),
    Variant("dft-long", "DFT, 800 steps", "dft", (3e-4,), steps=800),
)

FEW_DEMONSTRATIONS = tuple(
    Variant(f"{method}-demos-{n}", label, method, (rate,), data=f"demos-{n}")
    for method, label, rate in (("sft", "SFT", 1e-3), ("dft", "DFT", 1e-3), ("gft", "GFT", 5e-4))
    for n in DEMO_SIZES[:-1]
)

WRONG_EXPERTS = tuple(
    Variant(f"{method}-{data}", label, method, (rate,), data=data)
    for data in ("clean", "wrong-40")
    for method, label, rate in (("sft", "SFT", 1e-3), ("dft", "DFT", 1e-3), ("gft", "GFT", 5e-4))
)

# where the group should matter: a base that is right now and then …
WARM = Variant("warm", "start", "sft", (1e-3,), ("method.teachers=true",), seeds=THREE, steps=25)
FROM_WARM = (
    Variant("warm-sft", "SFT", "sft", (1e-3,), seeds=THREE, start="warm"),
    Variant("warm-dft", "DFT", "dft", (1e-3,), seeds=THREE, start="warm"),
    Variant(
        "warm-sft-mix", "SFT (mix)", "sft", (2e-3,), ("method.teachers=true",), seeds=THREE,
        start="warm",
    ),
    Variant("warm-grpo", "GRPO", "grpo", (5e-4,), OWN_ONLY, seeds=THREE, start="warm"),
    Variant("warm-gft", "GFT", "gft", GFT_RATE, seeds=THREE, start="warm"),
)  # fmt: skip

# … and demonstrations that are mostly wrong, all in the same way
SHORTCUT = (
    Variant("shortcut-sft", "SFT", "sft", (1e-3,), seeds=THREE, data="shortcut"),
    Variant("shortcut-dft", "DFT", "dft", (1e-3,), seeds=THREE, data="shortcut"),
    Variant(
        "shortcut-sft-mix", "SFT (mix)", "sft", (2e-3,), ("method.teachers=true",), seeds=THREE,
        data="shortcut",
    ),
    Variant("shortcut-chord-phi", "CHORD φ", "chord", (1e-3,), group(1, 0, 7), data="shortcut"),
    Variant("shortcut-luffy", "LUFFY", "luffy", (5e-4,), data="shortcut"),
    Variant(
        "shortcut-verified", "SFT (mix), verified only", "sft", (2e-3,),
        ("method.teachers=true",), seeds=THREE, data="shortcut-verified",
    ),
    Variant("shortcut-gft", "GFT", "gft", GFT_RATE, seeds=THREE, data="shortcut"),
)  # fmt: skip

# in the order in which they are run
VARIANTS = {
    v.name: v
    for v in (
        *METHODS,
        *ABLATIONS,
        *RECTIFY,
        *WRONG_EXPERTS,
        *FEW_DEMONSTRATIONS,
        *PIPELINES,
        *TAUS,
        *COMPOSITIONS,
        *LONG,
        WARM,
        *FROM_WARM,
        *SHORTCUT,
    )
}
PASS_AT = ("base", "sft", "dft", "grpo", "gft")  # whose pass@k is measured up to 128
