"""One pass over the head against autograd through the full logits, for every method."""

import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

from gft_lite.config import REGISTRY, AsftMethod, DftMethod, GftMethod, GrpoMethod, SftMethod
from gft_lite.methods import METHODS, LossInputs
from gft_lite.models.logps import OnePass, TokenLoss, chunked_logps, one_pass

N, H, V = 23, 8, 37  # more rows than a chunk, and not a multiple of one
CHUNK = 5 * V
RELATIVE = {torch.float64: 1e-12, torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float16: 2e-3}

CASES = [pytest.param(name, entry.config(), id=name) for name, entry in REGISTRY.items()] + [
    pytest.param("gft", GftMethod(kl_coef=0.3), id="gft-kl"),
    pytest.param("grpo", GrpoMethod(kl_coef=0.3), id="grpo-kl"),
]


class Head:
    """A head with the scale and the soft-capping that some families have."""

    def __init__(self, dtype: torch.dtype, scale: float = 1.0, cap: float | None = None) -> None:
        generator = torch.Generator().manual_seed(1)
        self.weight = torch.randn(V, H, generator=generator, dtype=torch.float64).to(dtype) / 2
        self.scale, self.cap = scale, cap

    def __call__(self, hidden: Tensor) -> Tensor:
        logits = hidden @ self.weight.T * self.scale
        return logits if self.cap is None else self.cap * torch.tanh(logits / self.cap)


class Tokens:
    """Random states and targets, and a method's loss on any rows of them."""

    def __init__(self, name: str, config: Any, dtype: torch.dtype = torch.float64) -> None:
        generator = torch.Generator().manual_seed(0)

        def draw() -> Tensor:
            return torch.randn(N, H, generator=generator, dtype=torch.float64).to(dtype)

        wide = torch.promote_types(dtype, torch.float32)
        self.hidden, self.ref_states = draw().requires_grad_(), draw()
        self.targets = torch.randint(V, (N,), generator=generator)
        self.scale = torch.rand(N, generator=generator, dtype=wide)
        around = -3 + torch.randn(N, 2, generator=generator, dtype=wide)
        self.method, self.config = METHODS[name], config
        self.known = {
            "advantages": torch.randn(N, generator=generator, dtype=wide),
            "own": torch.rand(N, generator=generator) < 0.5,
            "old_logps": around[:, 0],
            "ref_logps": around[:, 1],
        }
        self.kl = {"ref_states": self.ref_states} if self.method.needs_ref_kl else {}

    def loss(self, rows: slice, logps: Tensor, ref_kl: Tensor | None) -> Tensor:
        known = {name: values[rows] for name, values in self.known.items()}
        return self.method.loss(self.config, LossInputs(logps, ref_kl=ref_kl, **known))

    def naive(self, head: Head) -> tuple[Tensor, Tensor]:
        """Loss of every token and gradient of the states, by autograd through all logits."""
        wide = self.scale.dtype
        log_probs = head(self.hidden).to(wide).log_softmax(-1)
        logps = log_probs.gather(-1, self.targets[:, None])[:, 0]
        ref = head(self.ref_states).to(wide).log_softmax(-1)
        ref_kl = (ref.exp() * (ref - log_probs)).sum(-1)
        loss = self.loss(slice(None), logps, ref_kl if self.kl else None)
        (grad,) = torch.autograd.grad((loss * self.scale).sum(), self.hidden)
        return loss.detach(), grad

    def ours(self, head: Head, loss: TokenLoss | None = None, factor: float = 1.0) -> OnePass:
        scale = self.scale * factor
        loss = loss or self.loss
        return one_pass(self.hidden, self.targets, head, V, loss, scale, CHUNK, **self.kl)


def off(got: Tensor, wanted: Tensor) -> float:
    """Relative distance."""
    return float((got - wanted).norm() / wanted.norm())


@pytest.mark.parametrize("dtype", RELATIVE)
@pytest.mark.parametrize(("scale", "cap"), [(1.0, None), (0.25, 3.0)])
@pytest.mark.parametrize(("name", "config"), CASES)
def test_one_pass_equals_autograd_through_all_logits(
    name: str, config: Any, scale: float, cap: float | None, dtype: torch.dtype
) -> None:
    head, tokens = Head(dtype, scale, cap), Tokens(name, config, dtype)
    loss, grad = tokens.naive(head)
    found = tokens.ours(head)
    assert off(found.loss, loss) <= min(RELATIVE[dtype], 1e-5)
    assert found.hidden_grad.dtype == dtype
    assert off(found.hidden_grad.double(), grad.double()) <= RELATIVE[dtype]
    assert not any(part.requires_grad for part in found)
    assert tokens.hidden.grad is None


def test_values_are_those_of_the_scoring_path() -> None:
    head, tokens = Head(torch.float32), Tokens("asft", AsftMethod(), torch.float32)
    with torch.no_grad():
        read = chunked_logps(tokens.hidden, tokens.targets, head, V, CHUNK, **tokens.kl)
    seen: list[Tensor] = []

    def loss(rows: slice, logps: Tensor, ref_kl: Tensor | None) -> Tensor:
        assert ref_kl is not None
        seen.append(ref_kl.detach())
        return tokens.loss(rows, logps, ref_kl)

    found = tokens.ours(head, loss)
    assert torch.equal(found.logps, read.logps) and torch.equal(found.entropy, read.entropy)
    assert read.ref_kl is not None and torch.allclose(torch.cat(seen), read.ref_kl, atol=1e-6)


def test_slope_is_the_derivative_of_the_unscaled_loss() -> None:
    """DFT's slope is −p at every token, whatever the token counts in the step."""
    tokens = Tokens("dft", DftMethod())
    found = tokens.ours(Head(torch.float64), factor=7.0)
    assert torch.allclose(found.slope, -found.logps.exp())


def test_a_trainable_head_gets_its_gradient() -> None:
    head, tokens = Head(torch.float64, 0.25, 3.0), Tokens("gft", GftMethod())
    head.weight.requires_grad_()
    logps = head(tokens.hidden).log_softmax(-1).gather(-1, tokens.targets[:, None])[:, 0]
    total = (tokens.loss(slice(None), logps, None) * tokens.scale).sum()
    (wanted,) = torch.autograd.grad(total, head.weight)
    tokens.ours(head)
    assert head.weight.grad is not None and off(head.weight.grad, wanted) <= 1e-12


def test_a_loss_scaler_saves_small_gradients_in_float16() -> None:
    """At 1e-8 a token every float16 gradient is zero, unless the scaler's factor is in the pass."""
    head, tokens = Head(torch.float16), Tokens("sft", SftMethod(), torch.float16)
    _, wanted = tokens.naive(head)
    assert tokens.ours(head, factor=1e-8).hidden_grad.abs().max() == 0
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**16)
    tokens.scale = scaler.scale(tokens.scale * 1e-8)
    got = tokens.ours(head).hidden_grad.double() / 2**16 * 1e8
    assert off(got, wanted.double()) <= 5e-2


@pytest.mark.parametrize("repeats", [1, 20])
def test_only_one_chunk_of_logits_is_alive(repeats: int) -> None:
    """However many tokens there are."""
    head, tokens = Head(torch.float64), Tokens("gft", GftMethod())
    chunks: list[weakref.ref[Tensor]] = []
    alive: list[int] = []

    def watched(hidden: Tensor) -> Tensor:
        alive.append(sum(chunk() is not None for chunk in chunks))
        logits = head(hidden)
        assert logits.numel() <= CHUNK
        chunks.append(weakref.ref(logits))
        return logits

    hidden = tokens.hidden.repeat(repeats, 1)
    targets = tokens.targets.repeat(repeats)
    one_pass(hidden, targets, watched, V, lambda rows, x, kl: -x, torch.ones(len(targets)), CHUNK)
    assert len(alive) == -(-len(targets) // 5) and max(alive) == 0
