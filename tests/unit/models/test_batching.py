"""Text to tokens: the chat format on the embedded tokenizer with other templates, and batches whose
masks come from lengths alone."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gft_lite.config import ModelConfig
from gft_lite.models import load_tokenizer
from gft_lite.models.batching import ChatFormat, TokenSequence, collate, micro_batches
from gft_lite.types import Message, ModelError, Response

USER = Message("user", "2 + 2?")
SYSTEM = Message("system", "Be short.")
ANSWER = Message("assistant", "4")

# A template that refuses system turns and wants turns to alternate, as Gemma's does.
STRICT = (
    "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}"
    "{% endif %}{% for m in messages %}"
    "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
    "<{{ m['role'] }}>{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %}<model>{% endif %}"
)
# The turn ends with plain text: there is no token for it.
PLAIN_END = (
    "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }} --{% endfor %}"
    "{% if add_generation_prompt %}[assistant] {% endif %}"
)


@pytest.fixture
def tokenizer(tiny: ModelConfig) -> Any:
    return load_tokenizer(tiny)


def with_template(tokenizer: Any, template: str | None) -> ChatFormat:
    tokenizer.chat_template = template
    return ChatFormat(tokenizer)


# --- prompts ---


def test_prompt_is_the_template_ready_for_an_answer(tokenizer: Any) -> None:
    chat = ChatFormat(tokenizer)
    turns = (SYSTEM, USER, ANSWER, USER)
    plain = [{"role": m.role, "content": m.content} for m in turns]
    assert chat.prompt_text(turns) == tokenizer.apply_chat_template(
        plain, tokenize=False, add_generation_prompt=True
    )
    direct = tokenizer.apply_chat_template(
        plain, tokenize=True, add_generation_prompt=True, return_dict=False
    )
    assert list(chat.prompt_ids(turns)) == direct, "no special token is added twice"


def test_a_model_without_a_template_reads_plain_text(tokenizer: Any) -> None:
    chat = with_template(tokenizer, None)
    assert chat.prompt_text([SYSTEM, USER]) == "Be short.\n\n2 + 2?\n\n"
    assert tokenizer.decode(chat.prompt_ids([USER])) == "2 + 2?\n\n"
    assert chat.end_id == tokenizer.eos_token_id
    assert chat.stop_ids == (tokenizer.eos_token_id,)


def test_a_system_turn_is_merged_where_the_template_refuses_it(tokenizer: Any) -> None:
    chat = with_template(tokenizer, STRICT)
    eos = tokenizer.eos_token
    assert chat.prompt_text([USER]) == f"<user>2 + 2?{eos}<model>"
    assert chat.prompt_text([SYSTEM, USER]) == f"<user>Be short.\n\n2 + 2?{eos}<model>"
    long = chat.prompt_text([SYSTEM, USER, ANSWER, USER])
    assert long == f"<user>Be short.\n\n2 + 2?{eos}<assistant>4{eos}<user>2 + 2?{eos}<model>"


@pytest.mark.parametrize("turns", [(USER, USER), (SYSTEM, USER, USER), (SYSTEM,)])
def test_turns_that_a_template_refuses_are_named(
    tokenizer: Any, turns: tuple[Message, ...]
) -> None:
    chat = with_template(tokenizer, STRICT)
    with pytest.raises(ModelError, match=r"chat template refuses .* turns (system|user)") as caught:
        chat.prompt_text(turns)
    assert repr(turns[0].content) in str(caught.value)
    assert "another model" in str(caught.value)


# --- responses ---


def test_a_demonstration_ends_with_the_templates_own_end_of_turn(tokenizer: Any) -> None:
    chat = ChatFormat(tokenizer)
    ids = chat.response_ids(Response("4", "expert"))
    plain = [{"role": m.role, "content": m.content} for m in (USER, ANSWER)]
    whole = tokenizer.apply_chat_template(plain, tokenize=False)
    joined = tokenizer.decode([*chat.prompt_ids([USER]), *ids])
    assert whole.startswith(joined), "what is trained is what the template writes"
    assert ids[-1] == chat.end_id and ids.count(chat.end_id) == 1
    assert chat.end_id in chat.stop_ids and tokenizer.eos_token_id in chat.stop_ids


def test_end_of_turn_may_be_another_token_than_eos(tokenizer: Any) -> None:
    tokenizer.add_special_tokens({"additional_special_tokens": ["<turn_end>"]})
    template = (
        "{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}<turn_end>\n{% endfor %}"
        "{% if add_generation_prompt %}[assistant]{% endif %}"
    )
    chat = with_template(tokenizer, template)
    turn_end = tokenizer.convert_tokens_to_ids("<turn_end>")
    assert turn_end != tokenizer.eos_token_id
    assert chat.end_id == turn_end
    assert chat.stop_ids == (turn_end, tokenizer.eos_token_id)
    assert chat.response_ids(Response("4", "teacher"))[-1] == turn_end


def test_where_a_turn_ends_in_plain_text_eos_ends_it(tokenizer: Any) -> None:
    chat = with_template(tokenizer, PLAIN_END)
    assert chat.end_id == tokenizer.eos_token_id


def test_sampled_ids_are_kept_as_they_are(tokenizer: Any) -> None:
    chat = ChatFormat(tokenizer)
    usual = chat.response_ids(Response("44", "self"))
    odd = (*chat.response_ids(Response("4", "expert"))[:-1], 7, 7)
    assert chat.response_ids(Response("44", "self", odd, finished=False)) == odd != usual


def test_text_of_ids_is_without_special_tokens(tokenizer: Any) -> None:
    chat = ChatFormat(tokenizer)
    text = "3 + 4 = 7\n#### 7"
    assert chat.text(chat.response_ids(Response(text, "expert"))) == text


# --- batches ---


def sequence(prompt: int, response: int, token: int = 5, **fields: Any) -> TokenSequence:
    """Ids that tell prompt from response: 1, 2, 3 … and token, token + 1 …"""
    return TokenSequence(
        tuple(range(1, prompt + 1)), tuple(range(token, token + response)), **fields
    )


def test_worked_batch() -> None:
    """Prompts of 3 and 1, responses of 2 and 3: response token t is predicted at prompt − 1 + t."""
    batch = collate([sequence(3, 2, 50), sequence(1, 3, 60, advantage=-0.5)], pad_id=0)
    assert batch.input_ids.tolist() == [[1, 2, 3, 50, 51], [1, 60, 61, 62, 0]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 1, 1, 0]]
    assert batch.positions.tolist() == [[2, 3, 0], [0, 1, 2]]
    assert batch.targets.tolist() == [[50, 51, 0], [60, 61, 62]]
    assert batch.mask.tolist() == [[True, True, False], [True, True, True]]
    assert batch.advantages.tolist() == [1.0, -0.5]
    assert batch.old_logps is None


def test_masks_come_from_lengths_where_pad_is_a_real_token() -> None:
    """With pad = eos, the eos that ends a response is trained on and attended to."""
    eos = 51
    batch = collate([sequence(3, 2, 50), sequence(1, 1, 60)], pad_id=eos)
    assert batch.input_ids.tolist() == [[1, 2, 3, 50, eos], [1, 60, eos, eos, eos]]
    assert batch.mask.tolist() == [[True, True], [True, False]]
    assert batch.attention_mask.tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]


lengths = st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), min_size=1, max_size=12)


@given(lengths)
def test_every_position_predicts_its_target(sizes: list[tuple[int, int]]) -> None:
    batch = collate([sequence(p, r, 100 * i + 50) for i, (p, r) in enumerate(sizes)], pad_id=0)
    rows = torch.arange(len(sizes)).unsqueeze(-1)
    follows = batch.input_ids[rows, batch.positions + 1]
    assert torch.equal(follows[batch.mask], batch.targets[batch.mask])
    assert batch.mask.sum(1).tolist() == [r for _, r in sizes]
    assert batch.attention_mask.sum(1).tolist() == [p + r for p, r in sizes]


def test_old_logps_where_every_sequence_brings_them() -> None:
    one = sequence(1, 2, old_logps=(-0.5, -1.0))
    batch = collate([one, sequence(2, 1, old_logps=(-2.0,))], pad_id=0)
    assert batch.old_logps is not None
    assert batch.old_logps.tolist() == [[-0.5, -1.0], [-2.0, 0.0]]
    assert collate([one, sequence(2, 1)], pad_id=0).old_logps is None


def test_a_batch_moves_whole() -> None:
    batch = collate([sequence(1, 2, old_logps=(-0.5, -1.0))], pad_id=0).to("meta")
    tensors = [v for v in vars(batch).values() if isinstance(v, torch.Tensor)]
    assert len(tensors) > 6 and all(t.device.type == "meta" for t in tensors)


@given(lengths, st.integers(1, 60))
def test_micro_batches_keep_to_the_budget_and_lose_nothing(
    sizes: list[tuple[int, int]], budget: int
) -> None:
    sequences = [sequence(p, r, key=(i, 0)) for i, (p, r) in enumerate(sizes)]
    parts = list(micro_batches(sequences, budget))
    assert sorted(s.key for part in parts for s in part) == [s.key for s in sequences]
    for part in parts:
        assert len(part) == 1 or len(part) * max(map(len, part)) <= budget
    longest = [max(map(len, part)) for part in parts]
    assert longest == sorted(longest, reverse=True), "what needs most memory comes first"
    for part in parts[:-1]:
        assert (len(part) + 1) * max(map(len, part)) > budget, "the next one had room"


def test_no_sequences_make_no_batches() -> None:
    assert list(micro_batches([], 100)) == []
