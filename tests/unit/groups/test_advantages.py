"""Group advantages against worked arithmetic and the official convention (n − 1, ε = 1e-6)."""

import math

import pytest
import torch

from gft_lite.groups.advantages import group_advantages, is_degenerate


def test_worked_example() -> None:
    """R = [1, 0, 0]: mean 1/3, std √((4/9 + 1/9 + 1/9)/2) = 0.577350; (2/3)/0.577351 = 1.154699."""
    assert group_advantages([1.0, 0.0, 0.0]) == pytest.approx([1.1546985, -0.5773493, -0.5773493])


@pytest.mark.parametrize("size", range(2, 17))
def test_official_convention_for_every_count_of_correct_answers(size: int) -> None:
    for correct in range(1, size):
        rewards = [1.0] * correct + [0.0] * (size - correct)
        tensor = torch.tensor(rewards, dtype=torch.float64)
        official = (tensor - tensor.mean()) / (tensor.std() + 1e-6)
        assert group_advantages(rewards) == pytest.approx(official.tolist(), abs=1e-12)


@pytest.mark.parametrize("rewards", [[], [0.7], [1.0, 1.0], [0.1] * 7, [0.0] * 16])
def test_no_contrast_is_exactly_zero(rewards: list[float]) -> None:
    assert is_degenerate(rewards)
    assert group_advantages(rewards) == [0.0] * len(rewards)


def test_shift_and_scale_of_rewards_do_not_matter() -> None:
    rewards = [0.1, 0.9, 0.4, 0.4]
    moved = [5 + 3 * r for r in rewards]
    assert group_advantages(moved) == pytest.approx(group_advantages(rewards), abs=1e-5)
    assert math.fsum(group_advantages(rewards)) == pytest.approx(0, abs=1e-12)
