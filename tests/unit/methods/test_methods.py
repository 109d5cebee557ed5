"""Every loss against worked arithmetic, a literal float64 version of its formula, and the paper's
identities."""

import math
from collections.abc import Callable
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

from gft_lite.config import (
    REGISTRY,
    AsftMethod,
    ChordMethod,
    DftMethod,
    GftMethod,
    GrpoMethod,
    LuffyMethod,
    PsftMethod,
    SftMethod,
)
from gft_lite.methods import METHODS, LossInputs
from gft_lite.methods.asft import asft_loss
from gft_lite.methods.chord import chord_loss, cosine_mu, phi_weight
from gft_lite.methods.dft import dft_loss
from gft_lite.methods.gft import gft_loss, rectified_coefficient
from gft_lite.methods.grpo import grpo_loss
from gft_lite.methods.kl import k3
from gft_lite.methods.luffy import luffy_loss
from gft_lite.methods.psft import psft_loss
from gft_lite.methods.sft import sft_loss
from gft_lite.models.logps import chunked_logps

LOGPS = torch.tensor([[0.5, 0.05]], dtype=torch.float64).log()


def test_registry_and_schema_name_the_same_methods() -> None:
    assert list(METHODS) == list(REGISTRY)


def test_sft_golden() -> None:
    """p = [.5, .05]: −ln .5 = 0.693147, −ln .05 = 2.995732."""
    assert sft_loss(LOGPS).tolist()[0] == pytest.approx([0.693147, 2.995732], abs=1e-6)


def test_dft_golden() -> None:
    """p = [.5, .05]: .5·0.693147 = 0.346574, .05·2.995732 = 0.149787."""
    assert dft_loss(LOGPS).tolist()[0] == pytest.approx([0.346574, 0.149787], abs=1e-6)


def test_gft_golden() -> None:
    """p = [.5, .05], τ = .1, A = 2: 2·1·0.693147 = 1.386294 and 2·.05·2.995732 = 0.299573."""
    loss = gft_loss(LOGPS, torch.tensor([2.0], dtype=torch.float64), 0.1)
    assert loss.tolist()[0] == pytest.approx([1.386294, 0.299573], abs=1e-6)


def test_gft_at_tau_keeps_weight_one() -> None:
    """The paper's side of the tie: π ≥ τ keeps 1."""
    assert rectified_coefficient(torch.tensor([0.25]).log(), 0.25).item() == 1.0


def test_grpo_golden() -> None:
    """p = .6, p_old = .4, so r = 1.5; ε = .2. A = 1: −min(1.5, 1.2) = −1.2;
    A = −1: −min(−1.5, −1.2) = 1.5."""
    logps, old = torch.tensor([[0.6]]).log(), torch.tensor([[0.4]]).log()
    assert grpo_loss(logps, old, torch.tensor([1.0]), 0.2).item() == pytest.approx(-1.2)
    assert grpo_loss(logps, old, torch.tensor([-1.0]), 0.2).item() == pytest.approx(1.5)


def test_asft_golden() -> None:
    """p = .5, KL = .2, λ = .05: .5·0.693147 + .05·.2 = 0.356574."""
    loss = asft_loss(torch.tensor([[0.5]]).log(), torch.tensor([[0.2]]), 0.05)
    assert loss.item() == pytest.approx(0.356574, abs=1e-6)


def test_psft_golden() -> None:
    """p_old = .5. p = .7: r = 1.4, clipped at 1.28 → −1.28. p = .3: r = .6 < .8 → −.6, the min."""
    old = torch.tensor([[0.5, 0.5]]).log()
    loss = psft_loss(torch.tensor([[0.7, 0.3]]).log(), old, 0.2, 0.28)
    assert loss.tolist()[0] == pytest.approx([-1.28, -0.6])


def test_luffy_golden() -> None:
    """A = 2, γ = .1. Demonstration, p = .4: −2·.4/.5 = −1.6. Own, p = .6, p_old = .4: −2·1.5."""
    logps, old = torch.tensor([[0.4], [0.6]]).log(), torch.tensor([[0.4], [0.4]]).log()
    own = torch.tensor([[False], [True]])
    loss = luffy_loss(logps, old, torch.tensor([2.0, 2.0]), own, 0.1)
    assert loss.flatten().tolist() == pytest.approx([-1.6, -3.0])


def test_chord_golden() -> None:
    """μ = .1. Expert, p = .4: .1·(.4·.6)·0.916291 = 0.021991; without φ .1·0.916291 = 0.0916291.
    Own, p = p_old = .4, A = −1: .9·1 = .9."""
    logps = torch.tensor([[0.4], [0.4]]).log()
    own, ones = torch.tensor([[False], [True]]), torch.tensor([1.0, -1.0])
    phi = chord_loss(logps, logps, ones, own, 0.1, 0.2, phi=True)
    plain = chord_loss(logps, logps, ones, own, 0.1, 0.2, phi=False)
    assert phi.flatten().tolist() == pytest.approx([0.021991, 0.9], abs=1e-6)
    assert plain.flatten().tolist() == pytest.approx([0.0916291, 0.9], abs=1e-6)
    assert phi_weight(torch.tensor([0.5]).log()).item() == pytest.approx(0.25)


def test_chord_mu_falls_by_a_cosine() -> None:
    """0.9 at the start, 0.05 at the end, (0.9 + 0.05)/2 = 0.475 half way."""
    found = [cosine_mu(progress, 0.9, 0.05) for progress in (0.0, 0.5, 1.0)]
    assert found == pytest.approx([0.9, 0.475, 0.05])


def test_k3_golden() -> None:
    """π = .5, π_ref = .25: r = ln .5; .5 + 0.693147 − 1 = 0.193147."""
    value = k3(torch.tensor([0.5]).log(), torch.tensor([0.25]).log())
    assert value.item() == pytest.approx(0.193147, abs=1e-6)


# --- against slow, literal versions: dL/dp of one token -----------------------------------------


class Token(NamedTuple):
    """Probability now, when sampled, under the reference; advantage; sampled by the policy."""

    p: float
    old: float
    ref: float
    a: float
    own: bool


def literal_k3(t: Token) -> float:
    """d/dp [ref/p − ln(ref/p) − 1]."""
    return -t.ref / t.p**2 + 1 / t.p


def literal_clipped(t: Token, low: float, high: float) -> float:
    """d/dp of −min(r·a, clip(r)·a): nothing where the clipped side is the smaller."""
    ratio = t.p / t.old
    clipped = (t.a > 0 and ratio > 1 + high) or (t.a < 0 and ratio < 1 - low)
    return 0.0 if clipped else -t.a / t.old


def literal_gft(t: Token, kl_coef: float = 0.05) -> float:
    coefficient = t.p if t.p < 0.3 else 1.0
    return -t.a * coefficient / t.p + kl_coef * literal_k3(t)


def literal_gft_demonstrations(t: Token) -> float:
    """Own tokens in full: only a demonstration's coefficient is rectified."""
    return -t.a / t.p if t.own else literal_gft(t, kl_coef=0.0)


def literal_luffy(t: Token) -> float:
    """f = p/(p + γ): f' = γ/(p + γ)²."""
    return -t.a / t.old if t.own else -t.a * 0.1 / (t.p + 0.1) ** 2


def literal_chord(t: Token) -> float:
    expert = -t.p * (1 - t.p) / t.p
    return 0.7 * literal_clipped(t, 0.2, 0.2) if t.own else 0.3 * expert


PROGRESS = 0.25


def literal_chord_mu(t: Token) -> float:
    """A quarter of the way from .8 to .2: μ = .2 + .6·(1 + cos(π/4))/2; the expert as in SFT."""
    mu = 0.2 + 0.6 * (1 + math.sqrt(0.5)) / 2
    return (1 - mu) * literal_clipped(t, 0.2, 0.2) if t.own else mu * -1 / t.p


LITERAL: dict[str, tuple[object, Callable[[Token], float]]] = {
    "sft": (SftMethod(), lambda t: -1 / t.p),
    "dft": (DftMethod(), lambda t: -t.p / t.p),
    "asft": (AsftMethod(kl_coef=0.05), lambda t: -t.p / t.p),  # its KL term has its own test
    "psft": (PsftMethod(), lambda t: literal_clipped(t._replace(a=1.0), 0.2, 0.28)),
    "grpo": (
        GrpoMethod(clip=0.2, kl_coef=0.05),
        lambda t: literal_clipped(t, 0.2, 0.2) + 0.05 * literal_k3(t),
    ),
    "luffy": (LuffyMethod(gamma=0.1), literal_luffy),
    "chord": (ChordMethod(mu=0.3), literal_chord),
    "chord mu": (ChordMethod(variant="mu", mu_start=0.8, mu_end=0.2), literal_chord_mu),
    "gft without rectification": (GftMethod(tau=0.0), lambda t: -t.a / t.p),
    "gft without advantages": (
        GftMethod(tau=0.3, group_advantages=False),
        lambda t: literal_gft(t, kl_coef=0.0),
    ),
    "gft on demonstrations": (
        GftMethod(tau=0.3, rectify="demonstrations"),
        literal_gft_demonstrations,
    ),
    "gft": (GftMethod(tau=0.3, kl_coef=0.05), literal_gft),
}


def test_every_method_has_a_literal_version() -> None:
    assert {name.split()[0] for name in LITERAL} == set(METHODS)


@pytest.mark.parametrize("name", sorted(LITERAL))
def test_gradient_equals_the_literal_derivative(name: str) -> None:
    """dL/dp by hand, token by token, with a mask and padding; relative error ≤ 1e-6."""
    generator = torch.Generator().manual_seed(0)
    rows, width, vocabulary = 5, 7, 11
    logits = torch.randn(rows, width, vocabulary, generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    ids = torch.randint(vocabulary, (rows, width), generator=generator)
    mask = torch.rand(rows, width, generator=generator) < 0.7
    advantages = torch.randn(rows, generator=generator, dtype=torch.float64)
    probs = logits.softmax(-1).gather(-1, ids.unsqueeze(-1)).squeeze(-1)
    old = (probs * (0.5 + torch.rand(rows, width, generator=generator))).detach()
    ref = (probs * (0.5 + torch.rand(rows, width, generator=generator))).detach()

    own = torch.tensor([[True], [False], [True], [False], [True]])
    config, literal = LITERAL[name]
    inputs = LossInputs(
        logps=probs.log(),
        advantages=advantages.unsqueeze(-1),
        own=own,
        ref_logps=ref.log(),
        old_logps=old.log(),
        ref_kl=torch.zeros_like(probs),
        progress=PROGRESS,
    )
    loss = METHODS[name.split()[0]].loss(config, inputs)
    (got,) = torch.autograd.grad((loss * mask).sum() / mask.sum(), logits, retain_graph=True)

    slopes = torch.zeros_like(probs)
    for i in range(rows):
        for t in range(width):
            if mask[i, t]:
                token = Token(
                    probs[i, t].item(),
                    old[i, t].item(),
                    ref[i, t].item(),
                    advantages[i].item(),
                    bool(own[i, 0]),
                )
                slopes[i, t] = literal(token) / mask.sum().item()
    (wanted,) = torch.autograd.grad(probs, logits, grad_outputs=slopes)
    assert torch.linalg.norm(got - wanted) <= 1e-6 * torch.linalg.norm(wanted)
    assert got[~mask].abs().max() == 0


def test_asft_kl_gradient_equals_the_literal_derivative() -> None:
    """∂KL(q ‖ softmax(z))/∂z = softmax(z) − q, through the chunked head."""
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(6, 11, bias=False, dtype=torch.float64)
    hidden = torch.randn(9, 6, generator=generator, dtype=torch.float64).requires_grad_()
    ref = torch.randn(9, 6, generator=generator, dtype=torch.float64)
    ids = torch.randint(11, (9,), generator=generator)
    found = chunked_logps(hidden, ids, head, 11, chunk_elements=33, ref_states=ref)
    assert found.ref_kl is not None
    loss = asft_loss(found.logps, found.ref_kl, 0.07).sum()
    (got,) = torch.autograd.grad(loss, hidden)

    p, q = head(hidden).softmax(-1), head(ref).softmax(-1)
    chosen = p.gather(-1, ids[:, None])
    one_hot = torch.nn.functional.one_hot(ids, 11)
    slope = -chosen * (one_hot - p) + 0.07 * (p - q)
    wanted = slope @ head.weight
    assert torch.linalg.norm(got - wanted) <= 1e-6 * torch.linalg.norm(wanted)
    assert (found.ref_kl >= 0).all()


def test_asft_gradient_with_mask_and_padding() -> None:
    """L = Σ_unmasked [−sg(p)·ln p + λ·Σ_v q_v·ln(q_v/p_v)] / n: ∂/∂z = −p_y·(1_y − p) + λ·(p − q),
    by hand a position at a time; nothing at masked positions."""
    generator = torch.Generator().manual_seed(2)
    rows, width, vocabulary = 4, 6, 9
    logits = torch.randn(rows, width, vocabulary, generator=generator, dtype=torch.float64)
    logits.requires_grad_()
    ref = torch.randn(rows, width, vocabulary, generator=generator, dtype=torch.float64)
    ids = torch.randint(vocabulary, (rows, width), generator=generator)
    lengths = torch.tensor([6, 4, 1, 3])  # padded on the right
    mask = torch.arange(width) < lengths[:, None]
    logps, q = logits.log_softmax(-1), ref.softmax(-1)
    inputs = LossInputs(
        logps=logps.gather(-1, ids.unsqueeze(-1)).squeeze(-1),
        advantages=torch.ones(rows, 1, dtype=torch.float64),
        ref_kl=(q * (q.log() - logps)).sum(-1),
    )
    loss = METHODS["asft"].loss(AsftMethod(kl_coef=0.07), inputs)
    (got,) = torch.autograd.grad((loss * mask).sum() / mask.sum(), logits)
    wanted = torch.zeros_like(logits)
    for i in range(rows):
        for t in range(int(lengths[i])):
            p = logits[i, t].detach().softmax(-1)
            one_hot = torch.zeros(vocabulary, dtype=torch.float64)
            one_hot[ids[i, t]] = 1.0
            wanted[i, t] = -p[ids[i, t]] * (one_hot - p) + 0.07 * (p - q[i, t])
    wanted = wanted / mask.sum()
    assert torch.linalg.norm(got - wanted) <= 1e-6 * torch.linalg.norm(wanted)
    assert got[~mask].abs().max() == 0


# --- identities ---------------------------------------------------------------------------------


def _random_logps() -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.rand(4, 9, generator=generator, dtype=torch.float64).clamp_min(1e-3).log()


ONES = torch.ones(4, dtype=torch.float64)


def _same(one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor]) -> None:
    for function in (one, other):
        assert function(_random_logps()).shape == (4, 9)
    grads = []
    for function in (one, other):
        logps = _random_logps().requires_grad_()
        grads.append(torch.autograd.grad(function(logps).sum(), logps)[0])
    assert torch.equal(one(_random_logps()), other(_random_logps()))
    assert torch.equal(grads[0], grads[1])


def test_tau_zero_and_unit_advantage_is_sft() -> None:
    _same(lambda x: gft_loss(x, ONES, 0.0), sft_loss)


def test_tau_above_one_and_unit_advantage_is_dft() -> None:
    _same(lambda x: gft_loss(x, ONES, 1.01), dft_loss)


def test_tau_zero_is_gft_without_rectification() -> None:
    advantages = torch.tensor([1.5, -0.5, 0.0, -1.0], dtype=torch.float64)
    _same(lambda x: gft_loss(x, advantages, 0.0), lambda x: -advantages[:, None] * x)


def test_rectified_own_tokens_feel_a_constant_advantage() -> None:
    """Without DCR the mean gradient of own tokens at equal advantage b is b·∇Σπ = 0. With it, it is
    b·∇[Σ_{π ≥ τ} π + Σ_{π < τ} π²/2]: probability moves between likely and unlikely tokens."""
    logits = torch.tensor([2.0, 1.5, 0.0, -0.5, -1.0], dtype=torch.float64, requires_grad=True)
    probs, tau, b = logits.softmax(-1), 0.1, -0.7
    assert (probs < tau).tolist() == [False, False, True, True, True]

    def mean_gradient(threshold: float) -> torch.Tensor:
        losses = gft_loss(probs.log(), torch.full((5,), b, dtype=torch.float64), threshold)
        mean = (probs.detach() * losses).sum()
        return -torch.autograd.grad(mean, logits, retain_graph=True)[0]

    assert mean_gradient(0.0).abs().max() < 1e-15
    likely = torch.where(probs < tau, probs**2 / 2, probs).sum()
    (wanted,) = torch.autograd.grad(b * likely, logits, retain_graph=True)
    assert torch.allclose(mean_gradient(tau), wanted, rtol=1e-12, atol=0)
    assert wanted[:2].max() < 0 < wanted[2:].min()  # b < 0: the likely lose to the unlikely


def test_zero_advantage_has_no_loss_and_no_gradient() -> None:
    logps = _random_logps().requires_grad_()
    loss = gft_loss(logps, torch.zeros(4, dtype=torch.float64), 0.1)
    assert loss.abs().max() == 0
    assert torch.autograd.grad(loss.sum(), logps)[0].abs().max() == 0


def test_on_policy_grpo_gradient_is_plain_policy_gradient() -> None:
    """r = 1 everywhere: ∂(−rA)/∂log π = −A."""
    logps = _random_logps().requires_grad_()
    advantages = torch.tensor([1.0, -2.0, 0.5, 0.0], dtype=torch.float64)
    inputs = LossInputs(logps, advantages.unsqueeze(-1))
    loss = METHODS["grpo"].loss(GrpoMethod(), inputs)
    (grad,) = torch.autograd.grad(loss.sum(), logps)
    assert torch.allclose(grad, -advantages[:, None].expand_as(grad))


def test_rectified_weight_bounds_the_gradient() -> None:
    """With τ = .1 no token of an expert pulls harder than 1/τ on its own probability; SFT's 1/p
    has no bound."""
    probs = torch.tensor([1e-6, 1e-3, 0.09, 0.1, 0.9], dtype=torch.float64).requires_grad_()
    loss = gft_loss(probs.log(), torch.ones(5, dtype=torch.float64), 0.1)
    (grad,) = torch.autograd.grad(loss.sum(), probs)
    assert grad.abs().max() <= 1 / 0.1 + 1e-9
    assert math.isclose(float(grad[0]), -1.0)
