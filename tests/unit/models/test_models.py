"""The protocol on the real embedded model: log-probs, generation, reference, 4-bit, adapters.

Runs on the plain backend; `pytest --backend unsloth tests/unit/models/test_models.py` runs the same
on Unsloth, in a process of its own (test_unsloth.py does so).
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from policy_probes import ASK, batch_of, gradients, held, sequences, shake

from gft_lite.assets import MODEL_DIR
from gft_lite.config import LoraConfig, ModelConfig
from gft_lite.data import load_examples
from gft_lite.models import Policy, Sampling, load_policy
from gft_lite.models.batching import TokenSequence, collate
from gft_lite.models.load import check_model
from gft_lite.models.logps import chunked_logps
from gft_lite.models.validation import INDEX
from gft_lite.types import Message, ModelError, Response

WHOLE = "model.safetensors"


def test_logps_equal_the_full_softmax(policy: Policy) -> None:
    shake(policy)
    batch = batch_of(policy)
    got = policy.token_logps(batch)
    for row, s in enumerate(batch.sequences):
        ids = torch.tensor([s.prompt_ids + s.response_ids])
        logits = policy.model(ids).logits[0].log_softmax(-1)
        for t, token in enumerate(s.response_ids):
            at = logits[len(s.prompt_ids) - 1 + t]
            assert got.logps[row, t].item() == pytest.approx(at[token].item(), abs=2e-5)
            entropy = -(at.exp() * at).sum().item()
            assert got.entropy[row, t].item() == pytest.approx(entropy, abs=2e-5)
    assert got.logps[~batch.mask].abs().max() == 0


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_chunks_do_not_change_value_or_gradient(rows: int) -> None:
    generator = torch.Generator().manual_seed(0)
    head = torch.nn.Linear(8, 13, bias=False)
    ids = torch.randint(13, (7,), generator=generator)
    found = []
    for chunk in (rows * 13, 10**6):
        torch.manual_seed(0)
        hidden = torch.randn(7, 8).requires_grad_()
        got = chunked_logps(hidden, ids, head, 13, chunk)
        got.logps.sum().backward()
        found.append((got.logps.detach(), got.entropy, hidden.grad))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-6)
    assert not found[0][1].requires_grad


def test_batched_generation_equals_one_by_one(policy: Policy) -> None:
    prompts = [s.prompt_ids for s in sequences(policy)]
    greedy = Sampling(max_new_tokens=24, temperature=0.0)
    together = policy.generate(prompts, greedy, 8)
    alone = [policy.generate([p], greedy, 1)[0] for p in prompts]
    assert [g.token_ids for g in together] == [g.token_ids for g in alone]


def test_generation_ends_at_the_stop_token_or_says_so(policy: Policy) -> None:
    answer = policy.generate([policy.chat.prompt_ids(ASK)], Sampling(64, temperature=0.0), 1)[0]
    assert answer.finished and answer.token_ids[-1] in policy.chat.stop_ids
    cut = policy.generate([policy.chat.prompt_ids(ASK)], Sampling(2, temperature=0.0), 1)[0]
    assert not cut.finished and len(cut.token_ids) == 2


@pytest.mark.slow
def test_sampling_is_at_temperature_one_without_cuts(policy: Policy) -> None:
    """First-token frequencies follow the softmax: nothing of top-k or top-p leaks in."""
    ids = policy.chat.prompt_ids(ASK)
    with torch.no_grad():
        probs = policy.model(torch.tensor([ids])).logits[0, -1].softmax(-1)
    torch.manual_seed(0)
    drawn = policy.generate([ids] * 2000, Sampling(1), 500)
    counts = torch.bincount(torch.tensor([g.token_ids[0] for g in drawn]), minlength=probs.numel())
    assert (counts / 2000 - probs).abs().max() < 0.05


def test_reference_is_the_base_before_and_after_training(policy: Policy, tiny: ModelConfig) -> None:
    base = load_policy(tiny, None)
    batch = batch_of(policy)
    with torch.no_grad():
        wanted = base.token_logps(batch).logps
    shake(policy)
    with policy.reference():
        assert torch.equal(policy.token_logps(batch).logps, wanted)
    assert not torch.allclose(policy.token_logps(batch).logps, wanted)


@pytest.mark.parametrize("four_bit", [False, True])
def test_generate_leaves_logps_and_gradients_alone(four_bit: bool, tiny: ModelConfig) -> None:
    """On AVX512-BF16 CPUs bitsandbytes would repack 4-bit weights in the first forward without
    gradient, and later backwards would lose the gradient through them."""
    policy = load_policy(held(tiny, load_in_4bit=four_bit), LoraConfig(), seed=0)
    shake(policy)
    batch = batch_of(policy)
    before, grads_before = policy.token_logps(batch).logps.detach(), gradients(policy, batch)
    policy.sample_mode()
    policy.generate([policy.chat.prompt_ids(ASK)] * 3, Sampling(12), 3)
    after, grads_after = policy.token_logps(batch).logps.detach(), gradients(policy, batch)
    assert torch.equal(before, after)
    assert len(grads_before) == len(list(policy.parameters()))
    for one, other in zip(grads_before, grads_after, strict=True):
        assert torch.equal(one, other) and one.abs().sum() > 0


def test_4bit_weights_are_4bit_and_close_to_the_base(tiny: ModelConfig) -> None:
    import bitsandbytes

    small = load_policy(held(tiny, load_in_4bit=True), LoraConfig(), seed=0)
    assert sum(isinstance(m, bitsandbytes.nn.Linear4bit) for m in small.model.modules()) >= 28
    batch = batch_of(small)
    full = load_policy(tiny, LoraConfig(), seed=0)
    gap = (small.token_logps(batch).logps - full.token_logps(batch).logps)[batch.mask].abs()
    assert 0 < gap.mean() < 0.5


def test_every_linear_layer_has_an_adapter(policy: Policy) -> None:
    layers = policy.model.config.num_hidden_layers
    assert len(list(policy.parameters())) == layers * 7 * 2


def test_saved_adapter_gives_the_same_logps(
    policy: Policy, tiny: ModelConfig, tmp_path: Path
) -> None:
    shake(policy)
    policy.save_adapter(tmp_path / "a")
    batch = batch_of(policy)
    with torch.no_grad():
        wanted = policy.token_logps(batch).logps
        again = load_policy(held(tiny, adapter=str(tmp_path / "a")), None)
        assert torch.equal(again.token_logps(batch).logps, wanted)
        fresh = load_policy(tiny, LoraConfig(), seed=9)
        fresh.load_adapter_weights(tmp_path / "a")
        assert torch.equal(fresh.token_logps(batch).logps, wanted)


def test_reference_start_is_the_starting_adapter(
    policy: Policy, tiny: ModelConfig, tmp_path: Path
) -> None:
    shake(policy)
    policy.save_adapter(tmp_path / "a")
    batch = batch_of(policy)
    config = held(tiny, adapter=str(tmp_path / "a"), reference="start")
    continued = load_policy(config, LoraConfig())
    with torch.no_grad():
        wanted = policy.token_logps(batch).logps
        shake(continued)
        with continued.reference():
            assert torch.equal(continued.token_logps(batch).logps, wanted)
        assert not torch.allclose(continued.token_logps(batch).logps, wanted)
    assert all(p.requires_grad for p in continued.parameters())
    assert len(list(continued.parameters())) == len(list(policy.parameters()))


def test_too_long_a_sequence_is_refused_not_cut(policy: Policy) -> None:
    long = TokenSequence((5,) * policy.max_length, (6, 7))
    with pytest.raises(ModelError, match="longer than"):
        policy.token_logps(collate([long], 0))
    with pytest.raises(ModelError, match="longer than"):
        policy.generate([long.prompt_ids[:-1]], Sampling(2), 1)


def test_a_run_that_needs_less_length_gets_less(policy: Policy, tiny: ModelConfig) -> None:
    short = load_policy(tiny, None, max_length=16)
    assert short.max_length == 16
    assert load_policy(tiny, None, max_length=10**6).max_length == policy.max_length
    with pytest.raises(ModelError, match="17 tokens is longer than the 16"):
        short.token_logps(collate([TokenSequence((5,) * 16, (6,))], 0))


def test_bad_model_and_adapter_folders(tmp_path: Path, policy: Policy, tiny: ModelConfig) -> None:
    with pytest.raises(ModelError, match="not a model folder"):
        load_policy(held(tiny, name=str(tmp_path)), None)
    with pytest.raises(ModelError, match="no folder here"):
        load_policy(held(tiny, name="./nowhere"), None)
    with pytest.raises(ModelError, match=r"adapter_config\.json"):
        load_policy(held(tiny, adapter=str(tmp_path)), None)
    policy.save_adapter(tmp_path / "a")
    with pytest.raises(ModelError, match="it is a LoRA adapter"):
        load_policy(held(tiny, name=str(tmp_path / "a")), None)
    weights = tmp_path / "a" / "adapter_model.safetensors"
    weights.rename(tmp_path / "a" / "adapter_model.bin")
    with pytest.raises(ModelError, match="pickled"):
        load_policy(held(tiny, adapter=str(tmp_path / "a")), None)


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        (lambda f: (f / "config.json").write_text("{"), r"config\.json is not valid JSON"),
        (lambda f: (f / WHOLE).write_bytes((f / WHOLE).read_bytes()[:-9]), "is truncated or no"),
        (lambda f: (f / WHOLE).write_text("<html>"), "is truncated or no safetensors file"),
        (lambda f: (f / WHOLE).unlink(), r"has no \*\.safetensors$"),
        (lambda f: (f / WHOLE).rename(f / "pytorch_model.bin"), r"its pickled \*\.bin is refused"),
        (
            lambda f: (f / INDEX).write_text('{"weight_map": {"a": "model-1-of-2.safetensors"}}'),
            r"lacks model-1-of-2\.safetensors; copy or download it again",
        ),
        (lambda f: [p.unlink() for p in f.glob("*token*")], r"has no tokenizer; copy tokenizer\."),
    ],
    ids="config truncated page none pickled shard tokenizer".split(),
)
def test_a_broken_model_folder_is_refused_by_its_files(
    tmp_path: Path, break_it: Callable[[Path], object], sentence: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(MODEL_DIR, folder)
    check_model(ModelConfig(name=str(folder)))
    break_it(folder)
    with pytest.raises(ModelError, match=sentence):
        check_model(ModelConfig(name=str(folder)))


def test_adapter_of_another_base_is_refused_with_both_names(
    policy: Policy, tiny: ModelConfig, tmp_path: Path
) -> None:
    policy.name = "owner/other"
    policy.save_adapter(tmp_path / "a")
    with pytest.raises(ModelError, match=r"owner/other.*tiny"):
        load_policy(held(tiny, adapter=str(tmp_path / "a")), None)


def test_chat_format_ends_turns_as_the_template_does(policy: Policy) -> None:
    chat, tokenizer = policy.chat, policy.tokenizer
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b 12"}]
    whole = tokenizer.apply_chat_template(turns, tokenize=False)
    ours = chat.prompt_text((Message("user", "a"),)) + tokenizer.decode(
        chat.response_ids(Response("b 12", "expert"))
    )
    assert whole.startswith(ours)


def test_every_embedded_solution_fits_the_preset(policy: Policy) -> None:
    from gft_lite.assets import resolve

    loaded = load_examples(resolve("embedded:target_train"))
    longest = max(
        len(policy.chat.response_ids(Response(text, "expert")))
        for e in loaded.examples
        for text in (*e.experts, *e.teachers)
    )
    assert longest <= 96
