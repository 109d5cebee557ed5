"""Which backend, which number formats, which optimizer: choices as pure functions of a machine."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gft_lite.models.backend import Machine, choose, choose_backend, this_machine
from gft_lite.models.precision import dtype_for, float32_adapter, mixed_precision
from gft_lite.models.unsloth import cache_folder
from gft_lite.training.optimizer import optimizer_kind
from gft_lite.types import ModelError

LAPTOP = Machine(
    cuda=False,
    torch="2.13.0+cpu",
    torch_cuda=None,
    nvidia=False,
    unsloth=None,
    zoo=None,
    imported=frozenset(),
)
GPU = replace(LAPTOP, cuda=True, torch="2.13.0+cu130", torch_cuda="13.0", nvidia=True)
BOTH = replace(GPU, unsloth="2026.10.9", zoo="2026.10.9")
NEWER = replace(GPU, unsloth="2026.11.1", zoo="2026.11.1")


@pytest.mark.parametrize(
    ("machine", "backend", "why"),
    [
        (LAPTOP, "hf", "no CUDA GPU here"),
        (replace(LAPTOP, unsloth="2026.10.9", zoo="2026.10.9"), "hf", "no CUDA GPU here"),
        (BOTH, "unsloth", "Unsloth 2026.10.9 is installed and there is a CUDA GPU"),
        (NEWER, "unsloth", "Unsloth 2026.11.1"),
        (GPU, "hf", 'unsloth is not installed: pip install -U "gft-lite[unsloth]"'),
        (replace(BOTH, zoo=None), "hf", "unsloth-zoo is not installed"),
        (replace(BOTH, unsloth="2026.9.30"), "hf", "2026.9.30 is older than 2026.10.9"),
        (replace(BOTH, imported=frozenset({"peft"})), "hf", "peft was imported before Unsloth"),
        (replace(BOTH, imported=frozenset({"peft", "unsloth"})), "unsloth", "installed"),
        (replace(LAPTOP, nvidia=True), "hf", "2.13.0+cpu is a build without CUDA"),
        (replace(GPU, cuda=False), "hf", "update the driver"),
    ],
)
def test_auto_takes_unsloth_where_it_can_run_and_says_why(
    machine: Machine, backend: str, why: str
) -> None:
    chosen, reason = choose("auto", machine)
    assert chosen == backend and why in reason and "\n" not in reason


@pytest.mark.parametrize(
    ("machine", "what_to_do"),
    [
        (GPU, "pip install -U"),
        (replace(BOTH, unsloth="2025.1.1"), "pip install -U"),
        (replace(BOTH, zoo=None), "unsloth-zoo is not installed"),
        (replace(BOTH, imported=frozenset({"transformers"})), "`import unsloth` at the top"),
        (replace(BOTH, cuda=False, torch_cuda=None, torch="2.13.0+cpu"), "torch 2.13.0 for CUDA"),
        (replace(BOTH, cuda=False), "older CUDA"),
    ],
)
def test_asking_for_unsloth_where_it_cannot_run_says_what_to_do(
    machine: Machine, what_to_do: str
) -> None:
    with pytest.raises(ModelError) as error:
        choose("unsloth", machine)
    assert what_to_do in str(error.value)
    assert "--set model.backend=hf" in str(error.value) and "\n" not in str(error.value)


def test_unsloth_without_any_gpu_is_its_cpu_backend_and_says_so() -> None:
    backend, reason = choose("unsloth", replace(BOTH, cuda=False, nvidia=False))
    assert backend == "unsloth" and "no CUDA GPU here" in reason


def test_hf_is_always_to_be_had() -> None:
    for machine in (LAPTOP, GPU, BOTH):
        assert choose("hf", machine) == ("hf", "chosen in model.backend")


def test_this_machine_knows_what_was_imported() -> None:
    import transformers  # noqa: F401

    here = this_machine()
    assert "transformers" in here.imported and here.torch == torch.__version__
    assert choose_backend("auto")[0] == choose("auto", here)[0]


def test_unsloths_compiler_writes_into_our_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "gft-lite" / "unsloth"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder().is_absolute() and cache_folder().parts[-3:-1] == (".cache", "gft-lite")


# --- precision ---


@pytest.mark.parametrize(
    ("cuda", "bfloat16", "dtype", "mixed"),
    [
        (False, False, torch.float32, "no"),
        (True, True, torch.bfloat16, "bf16"),
        (True, False, torch.float16, "fp16"),  # T4: autocast with a loss scaler
    ],
)
def test_formats_follow_the_card(
    cuda: bool, bfloat16: bool, dtype: torch.dtype, mixed: str
) -> None:
    chosen = dtype_for("auto", cuda=cuda, bfloat16=bfloat16)
    assert chosen is dtype
    assert mixed_precision("cuda" if cuda else "cpu", chosen) == mixed


def test_a_dtype_that_was_named_is_taken() -> None:
    assert dtype_for("float32", cuda=True, bfloat16=True) is torch.float32
    assert dtype_for("bfloat16", cuda=False, bfloat16=False) is torch.bfloat16
    assert mixed_precision("cuda", torch.float32) == "no"


def test_an_emulated_bfloat16_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A T4 answers yes to torch's default question, since it can emulate bfloat16, slowly."""
    from gft_lite.models import precision

    def t4(including_emulation: bool = True) -> bool:
        return including_emulation

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", t4)
    assert precision.dtype_here("auto") is torch.float16


def test_only_the_adapter_is_held_in_float32() -> None:
    model = torch.nn.ModuleDict({"base": torch.nn.Linear(2, 2), "lora": torch.nn.Linear(2, 2)})
    model.half()
    model["base"].requires_grad_(False)
    float32_adapter(model)
    assert model["base"].weight.dtype is torch.float16
    assert model["lora"].weight.dtype is torch.float32


def test_the_optimizer_is_8_bit_and_paged_on_cuda() -> None:
    assert optimizer_kind("auto", "cuda") == "paged_adamw_8bit"
    assert optimizer_kind("auto", "cpu") == "adamw"
    assert optimizer_kind("adamw", "cuda") == "adamw"
