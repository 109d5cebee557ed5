"""The `method:` section: one class a method, with its options and what it trains on.

The arithmetic is in `gft_lite/methods/`; here stands what must be known before torch is loaded.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from gft_lite.config.section import Section
from gft_lite.types import Source


class MethodSection(Section):
    """What every method says of itself."""

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
        """Experts, and teachers where asked for."""
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

    It differs from SFT only where `train.updates_per_rollout` is above 1.
    """

    name: Literal["psft"] = "psft"
    clip_low: float = Field(0.2, gt=0, lt=1)
    """The ratio is clipped from below to 1 − this."""
    clip_high: float = Field(0.28, gt=0, le=1000)
    """The ratio is clipped from above to 1 + this."""


class GrpoMethod(MethodSection):
    """Group relative policy optimisation, arXiv 2402.03300, on self answers only."""

    name: Literal["grpo"] = "grpo"
    clip: float = Field(0.2, gt=0, le=1000)
    """The ratio to the sampling policy is clipped to 1 ± this."""
    kl_coef: float = Field(0.0, ge=0, le=1000)
    """Weight of the k3 KL to the reference policy."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Self answers."""
        return ("self",)

    @property
    def contrasted(self) -> tuple[Source, ...]:
        """Self answers."""
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
        """The expert and self answers."""
        return ("expert", "self")

    @property
    def contrasted(self) -> tuple[Source, ...]:
        """Self answers."""
        return ("self",)


class GftMethod(MethodSection):
    """Group fine-tuning, arXiv 2604.14258: −A·C(π)·log π over the mixed group."""

    name: Literal["gft"] = "gft"
    tau: float = Field(0.1, ge=0, le=1000)
    """Tokens below this probability are weighted by their probability (eq. 5); 0 is off."""
    rectify: Literal["all", "demonstrations"] = "all"
    """Whose tokens: those of every response, as in the paper, or not the model's own."""
    kl_coef: float = Field(0.0, ge=0, le=1000)
    """Weight of the k3 KL to the reference policy; 0 is off, as in the paper."""
    group_advantages: bool = True
    """Off: every demonstration has advantage 1 and nothing is sampled ("w/o GAL")."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """All, or the demonstrations alone where there is nothing to compare."""
        return ("expert", "teacher", "self") if self.group_advantages else ("expert", "teacher")

    @property
    def contrasted(self) -> tuple[Source, ...]:
        """All, in one group."""
        return self.sources if self.group_advantages else ()


MethodConfig = Annotated[
    SftMethod
    | DftMethod
    | AsftMethod
    | PsftMethod
    | GrpoMethod
    | LuffyMethod
    | ChordMethod
    | GftMethod,
    Field(discriminator="name"),
]

METHOD_CONFIGS: dict[str, type[MethodSection]] = {
    "sft": SftMethod,
    "dft": DftMethod,
    "asft": AsftMethod,
    "psft": PsftMethod,
    "grpo": GrpoMethod,
    "luffy": LuffyMethod,
    "chord": ChordMethod,
    "gft": GftMethod,
}
