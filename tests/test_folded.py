"""Folding the adapter in for sampling: the same policy, and a base that keeps every bit."""

import pytest
import torch
from peft.tuners.lora import LoraLayer
from test_models import batch_of, gradients, shake

from gft_lite.config import LoraConfig, ModelConfig
from gft_lite.models import Policy, load_policy
from gft_lite.models.folded import folded


def layers(policy: Policy) -> list[LoraLayer]:
    return [layer for layer in policy.model.modules() if isinstance(layer, LoraLayer)]


def test_folded_is_the_same_policy_in_one_product(policy: Policy) -> None:
    shake(policy)
    batch = batch_of(policy)
    with torch.no_grad():
        wanted = policy.token_logps(batch).logps
        with folded(policy.model):
            assert all(layer.merged for layer in layers(policy))
            for layer in layers(policy):  # what the adapter alone would add is not read any more
                layer.lora_B["default"].register_forward_pre_hook(pytest.fail)
            got = policy.token_logps(batch).logps
    assert torch.allclose(got, wanted, atol=1e-4) and not torch.equal(got, wanted)


def test_after_folding_every_bit_is_as_it_was(policy: Policy) -> None:
    shake(policy)
    batch = batch_of(policy)
    state = {name: value.clone() for name, value in policy.model.state_dict().items()}
    grads = gradients(policy, batch)
    with pytest.raises(RuntimeError, match="out of memory"), folded(policy.model):
        raise RuntimeError("out of memory")
    assert all(torch.equal(value, state[name]) for name, value in policy.model.state_dict().items())
    assert not any(layer.merged for layer in layers(policy))
    assert all(map(torch.equal, grads, gradients(policy, batch)))


def test_the_reference_is_not_folded(policy: Policy) -> None:
    shake(policy)
    with policy.reference(), folded(policy.model):
        assert not any(layer.merged for layer in layers(policy))


@pytest.mark.parametrize("settings", [{"load_in_4bit": True}, {"dtype": "bfloat16"}])
def test_rounded_weights_are_not_folded(settings: dict[str, object]) -> None:
    policy = load_policy(ModelConfig.model_validate({"name": "tiny", **settings}), LoraConfig())
    with folded(policy.model):
        assert not any(layer.merged for layer in layers(policy))


def test_a_tied_head_is_not_folded() -> None:
    """Folding it would change the embedding as well."""
    lora = LoraConfig(targets=("q_proj", "lm_head"))
    policy = load_policy(ModelConfig(name="tiny"), lora)
    shake(policy)
    batch = batch_of(policy)
    with torch.no_grad():
        wanted = policy.token_logps(batch).logps
        with folded(policy.model):
            got = policy.token_logps(batch).logps
            assert sum(layer.merged for layer in layers(policy)) == len(layers(policy)) - 1
    assert torch.allclose(got, wanted, atol=1e-4)
