"""The methods: the section of each with its options and training data, and the registry of all.

The registry is the one list of methods. Command line, configuration errors, app and reports read
it; `gft_lite.methods.METHODS` loads the objective that an entry names. This module does not load
torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SerializeAsAny

from gft_lite.config.presets import nearest
from gft_lite.config.section import Section, merge_choice
from gft_lite.types import ConfigError, Source

DEFAULT_METHOD = "gft"
LOSS_MEANING = "What a step minimises, per token."


class MethodSection(Section):
    """The base of the sections of all methods. A subclass sets `name` and adds options."""

    name: str

    @classmethod
    def merge(cls, lower: Any, upper: Any) -> Any:
        """Another method starts from its own defaults."""
        return merge_choice(lower, upper, DEFAULT_METHOD)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The responses it trains on."""
        return ("expert",)

    @property
    def contrasted(self) -> tuple[Source, ...]:
        """The responses whose rewards become advantages, standardised together; others have A = 1.

        Empty for methods without a reward.
        """
        return ()

    @property
    def rewarded(self) -> bool:
        """Whether advantages come from the group's rewards."""
        return bool(self.contrasted)


class SftMethod(MethodSection):
    """Supervised fine-tuning: −log π on demonstrations."""

    name: Literal["sft"] = "sft"
    teachers: bool = False
    """Train on teacher responses too: SFT(mix) of the paper's Table 1."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Experts, and teachers if `teachers` is set."""
        return ("expert", "teacher") if self.teachers else ("expert",)


class DftMethod(MethodSection):
    """Dynamic fine-tuning, arXiv 2508.05629: −sg(π)·log π on the expert."""

    name: Literal["dft"] = "dft"


class AsftMethod(MethodSection):
    """Anchored SFT, arXiv 2509.23753: DFT with a full-vocabulary KL to the reference."""

    name: Literal["asft"] = "asft"
    kl_coef: float = Field(0.05, gt=0, le=1000)
    """Weight of KL(reference ‖ policy) a token; the paper uses 0.05 to 0.1."""


class PsftMethod(MethodSection):
    """Proximal SFT, arXiv 2508.17784: a clipped ratio to the policy before the update, A = 1.

    It differs from SFT only if `train.updates_per_rollout` is above 1.
    """

    name: Literal["psft"] = "psft"
    clip_low: float = Field(0.2, gt=0, lt=1)
    """The ratio is clipped from below to 1 − this."""
    clip_high: float = Field(0.28, gt=0, le=1000)
    """The ratio is clipped from above to 1 + this."""


class GrpoMethod(MethodSection):
    """Group relative policy optimisation, arXiv 2402.03300, on self responses only."""

    name: Literal["grpo"] = "grpo"
    clip: float = Field(0.2, gt=0, le=1000)
    """The ratio to the sampling policy is clipped to 1 ± this."""
    kl_coef: float = Field(0.0, ge=0, le=1000)
    """Weight of the k3 KL to the reference policy."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Self responses."""
        return ("self",)

    @property
    def contrasted(self) -> tuple[Source, ...]:
        """Self responses."""
        return ("self",)


class LuffyMethod(MethodSection):
    """LUFFY, arXiv 2504.14945: GRPO with off-policy demonstrations in the group, shaped."""

    name: Literal["luffy"] = "luffy"
    gamma: float = Field(0.1, gt=0, le=1000)
    """Demonstrations weigh in with f(π) = π / (π + gamma)."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """All."""
        return ("expert", "teacher", "self")

    @property
    def contrasted(self) -> tuple[Source, ...]:
        """All, in one group."""
        return self.sources


class ChordMethod(MethodSection):
    """CHORD, arXiv 2508.11408: (1 − μ)·GRPO + μ·SFT on the expert."""

    name: Literal["chord"] = "chord"
    variant: Literal["phi", "mu"] = "phi"
    """`phi`: a constant μ, expert tokens weighted by p(1 − p). `mu`: plain SFT, μ decays."""
    mu: float = Field(0.1, ge=0, le=1)
    """Share of the expert's loss in variant `phi`."""
    mu_start: float = Field(0.9, ge=0, le=1)
    """Its share at the first step in variant `mu`."""
    mu_end: float = Field(0.05, ge=0, le=1)
    """Its share at the last step in variant `mu`; a cosine lies between."""
    clip: float = Field(0.2, gt=0, le=1000)
    """The ratio to the sampling policy is clipped to 1 ± this."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """The expert and self responses."""
        return ("expert", "self")

    @property
    def contrasted(self) -> tuple[Source, ...]:
        """Self responses."""
        return ("self",)


class GftMethod(MethodSection):
    """Group fine-tuning, arXiv 2604.14258: −A·C(π)·log π over the mixed group."""

    name: Literal["gft"] = "gft"
    tau: float = Field(0.1, ge=0, le=1000)
    """Tokens below this probability are weighted by their probability (eq. 5); 0 is off."""
    rectify: Literal["all", "demonstrations"] = "all"
    """Whose tokens: those of every response, as in the paper, or of demonstrations only."""
    kl_coef: float = Field(0.0, ge=0, le=1000)
    """Weight of the k3 KL to the reference policy; 0 is off, as in the paper."""
    group_advantages: bool = True
    """Off: every demonstration has advantage 1 and nothing is sampled ("w/o GAL")."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """All, or the demonstrations alone without group advantages."""
        return ("expert", "teacher", "self") if self.group_advantages else ("expert", "teacher")

    @property
    def contrasted(self) -> tuple[Source, ...]:
        """All, in one group."""
        return self.sources if self.group_advantages else ()


@dataclass(frozen=True)
class MethodEntry:
    """Everything that the package knows about a method.

    config: its section; the default of the field `name` is the method's name.
    objective: "module:attribute" of its `gft_lite.methods.Method`, loaded when a run needs it.
    label: its name in tables, legends and the app.
    description: one sentence for a reader who has to choose.
    colour, dark_colour: "#rrggbb" of its lines on light and dark ground; no dark one: the same.
    dashes: SVG dash pattern of its lines; "none" is solid.
    loss_meaning: the caption of its loss curve.
    """

    config: type[MethodSection]
    objective: str
    label: str
    description: str
    colour: str
    dark_colour: str = ""
    dashes: str = "none"
    loss_meaning: str = LOSS_MEANING

    @property
    def name(self) -> str:
        """The value of `method.name`."""
        return str(self.config.model_fields["name"].default)


_entries: dict[str, MethodEntry] = {}
REGISTRY: Mapping[str, MethodEntry] = MappingProxyType(_entries)
"""Name → entry of every method, in the order of registration."""


def register_method(entry: MethodEntry) -> None:
    """Add a method to the registry.

    Raises:
        ConfigError: the name is taken or cannot be part of a folder's name; a colour or the dashes
            are not written as CSS needs them.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*", entry.name):
        raise ConfigError(
            f"method {entry.name!r}: a name has lower-case letters, digits and _ only"
        )
    colours = [entry.colour, *filter(None, [entry.dark_colour])]
    if not all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours):
        raise ConfigError(f"method {entry.name!r}: write its colours as #rrggbb")
    if not re.fullmatch(r"none|[0-9. ]+", entry.dashes):
        raise ConfigError(f"method {entry.name!r}: write its dashes as in '8 4', or 'none'")
    if entry.name in _entries:
        raise ConfigError(f"method {entry.name!r} is registered already; choose another name")
    _entries[entry.name] = entry


def method_entry(name: object) -> MethodEntry:
    """The entry of a method.

    Raises:
        ConfigError: no such method.
    """
    if not isinstance(name, str) or name not in REGISTRY:
        raise ConfigError(f"unknown method {name!r}{nearest(str(name), sorted(REGISTRY))}")
    return REGISTRY[name]


def section_class(value: Any) -> type[MethodSection]:
    """The class for plain data of the `method:` section.

    Raises:
        ConfigError: it names no method.
    """
    name = value.get("name", DEFAULT_METHOD) if isinstance(value, Mapping) else DEFAULT_METHOD
    return method_entry(name).config


def _section(value: Any) -> Any:
    if isinstance(value, MethodSection):
        return value
    value = {"name": value} if isinstance(value, str) else value
    try:
        section = section_class(value)
    except ConfigError as error:
        raise ValueError(str(error)) from None
    return section.model_validate(value)


MethodConfig = Annotated[SerializeAsAny[MethodSection], BeforeValidator(_section)]
"""The `method:` section of a run: that of any registered method."""

REWARD_NOT_LOSS = (
    "Advantages of both signs weigh it, so it need not fall: watch the reward instead."
)

# Colours that differ for colour-blind readers too (docs/decisions/0019-one-registry-of-methods.md).
for _entry in (
    MethodEntry(
        SftMethod,
        "gft_lite.methods.sft:SFT",
        label="SFT",
        description="Imitate every expert answer, right or wrong. The plain baseline.",
        colour="#d99100",
        dark_colour="#e69f00",
        dashes="8 4",
        loss_meaning="Minus log probability of the expert's tokens.",
    ),
    MethodEntry(
        DftMethod,
        "gft_lite.methods.dft:DFT",
        label="DFT",
        description="Imitate, but tokens the model finds unlikely count less.",
        colour="#0a70c0",
        dark_colour="#2f86cf",
        dashes="2 3.5",
        loss_meaning="Minus log probability of the expert's tokens, each times its probability.",
    ),
    MethodEntry(
        AsftMethod,
        "gft_lite.methods.asft:ASFT",
        label="ASFT",
        description="DFT, held close to the base model token by token.",
        colour="#4dbdf0",
        dark_colour="#a6dcff",
        dashes="6 3 2 3",
        loss_meaning="The loss of DFT, plus the KL from the reference policy.",
    ),
    MethodEntry(
        PsftMethod,
        "gft_lite.methods.psft:PSFT",
        label="PSFT",
        description="Imitate in small clipped moves, for several updates on the same answers.",
        colour="#d23c00",
        dark_colour="#ff5a3d",
        dashes="4 2",
        loss_meaning="Minus the clipped probability ratio; −1 when the policy has not moved.",
    ),
    MethodEntry(
        GrpoMethod,
        "gft_lite.methods.grpo:GRPO",
        label="GRPO",
        description="Only self responses compete; needs a model that succeeds now and then.",
        colour="#d873c0",
        dark_colour="#f29fd0",
        dashes="10 3 2 3",
        loss_meaning=REWARD_NOT_LOSS,
    ),
    MethodEntry(
        LuffyMethod,
        "gft_lite.methods.luffy:LUFFY",
        label="LUFFY",
        description="GRPO with expert and teacher answers in the group.",
        colour="#3f0f70",
        dark_colour="#7a4cff",
        dashes="12 3",
        loss_meaning=REWARD_NOT_LOSS,
    ),
    MethodEntry(
        ChordMethod,
        "gft_lite.methods.chord:CHORD",
        label="CHORD",
        description="GRPO on self responses, mixed with imitation of the expert.",
        colour="#3c3a00",
        dark_colour="#f2eca8",
        dashes="1.5 2",
        loss_meaning="The losses of GRPO and of imitation, weighted against each other.",
    ),
    MethodEntry(
        GftMethod,
        "gft_lite.methods.gft:GFT",
        label="GFT",
        description=(
            "The group learns: what is better than its group is encouraged, what is worse is not."
        ),
        colour="#00a070",
        dark_colour="#12a070",
        loss_meaning=REWARD_NOT_LOSS,
    ),
):
    register_method(_entry)
