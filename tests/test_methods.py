"""Every loss against worked arithmetic, a literal float64 version of its formula, and the identities
of the paper."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from gft_lite.config import METHOD_CONFIGS, GftMethod, GrpoMethod
from gft_lite.methods import METHODS, LossInputs
from gft_lite.methods.dft import dft_loss
from gft_lite.methods.gft import gft_loss, rectified_coefficient
from gft_lite.methods.grpo import grpo_loss
from gft_lite.methods.kl import k3
from gft_lite.methods.sft import sft_loss

LOGPS = torch.tensor([[0.5, 0.05]], dtype=torch.float64).log()


def test_registry_and_schema_name_the_same_methods() -> None:
    assert set(METHODS) == set(METHOD_CONFIGS)


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


def test_k3_golden() -> None:
    """π = .5, π_ref = .25: r = ln .5; .5 + 0.693147 − 1 = 0.193147."""
    value = k3(torch.tensor([0.5]).log(), torch.tensor([0.25]).log())
    assert value.item() == pytest.approx(0.193147, abs=1e-6)


# --- against slow, literal versions -------------------------------------------------------------


def literal_sft(p: float, _old: float, _ref: float, _a: float) -> float:
    return -1 / p


def literal_dft(p: float, _old: float, _ref: float, _a: float) -> float:
    return -p / p


def literal_gft(p: float, _old: float, ref: float, a: float) -> float:
    tau, beta = 0.3, 0.05
    coefficient = p if p < tau else 1.0
    return -a * coefficient / p + beta * (-ref / p**2 + 1 / p)


def literal_grpo(p: float, old: float, ref: float, a: float) -> float:
    clip, beta = 0.2, 0.05
    ratio = p / old
    clipped = (a > 0 and ratio > 1 + clip) or (a < 0 and ratio < 1 - clip)
    return (0.0 if clipped else -a / old) + beta * (-ref / p**2 + 1 / p)


LITERAL: dict[str, tuple[object, Callable[[float, float, float, float], float]]] = {
    "sft": (METHOD_CONFIGS["sft"](), literal_sft),
    "dft": (METHOD_CONFIGS["dft"](), literal_dft),
    "gft": (GftMethod(tau=0.3, kl_coef=0.05), literal_gft),
    "grpo": (GrpoMethod(clip=0.2, kl_coef=0.05), literal_grpo),
}


@pytest.mark.parametrize("name", sorted(METHODS))
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

    config, literal = LITERAL[name]
    inputs = LossInputs(probs.log(), advantages.unsqueeze(-1), ref.log(), old.log())
    loss = METHODS[name].loss(config, inputs)
    (got,) = torch.autograd.grad((loss * mask).sum() / mask.sum(), logits, retain_graph=True)

    slopes = torch.zeros_like(probs)
    for i in range(rows):
        for t in range(width):
            if mask[i, t]:
                p, o, r = probs[i, t].item(), old[i, t].item(), ref[i, t].item()
                slopes[i, t] = literal(p, o, r, float(advantages[i])) / float(mask.sum())
    (wanted,) = torch.autograd.grad(probs, logits, grad_outputs=slopes)
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
