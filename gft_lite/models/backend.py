"""Choice of the backend of a run, with the reason as one line.

This module does not import transformers, peft or unsloth: Unsloth must be imported first, so the
choice uses the installed versions only.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import torch

from gft_lite.types import ModelError

Backend = Literal["hf", "unsloth"]
OLDEST_UNSLOTH = "2026.10.9"
INSTALL = 'pip install -U "gft-lite[unsloth]"'
BEFORE_UNSLOTH = ("transformers", "peft", "trl")  # modules it must be imported before


@dataclass(frozen=True)
class Machine:
    """The facts that the choice depends on.

    cuda: torch sees a CUDA GPU.
    torch: version of torch, with the build's suffix.
    torch_cuda: CUDA version torch was built for; None in a build for CPUs.
    nvidia: an NVIDIA driver is here and CUDA_VISIBLE_DEVICES does not hide its GPUs.
    unsloth, zoo: versions installed; None if missing.
    imported: modules imported already.
    """

    cuda: bool
    torch: str
    torch_cuda: str | None
    nvidia: bool
    unsloth: str | None
    zoo: str | None
    imported: frozenset[str]


def choose_backend(setting: str) -> tuple[Backend, str]:
    """Resolve `model.backend` on this machine to (backend, reason).

    Raises:
        ModelError: Unsloth is asked for and cannot be used; says what to do.
    """
    return choose(setting, this_machine())


def choose(setting: str, machine: Machine) -> tuple[Backend, str]:
    """`choose_backend` on a given machine."""
    if setting == "hf":
        return "hf", "chosen in model.backend"
    problem = _unsloth_problem(machine)
    if setting == "unsloth":
        if problem := problem or _gpu_problem(machine):
            raise ModelError(f"model.backend=unsloth: {problem}; or --set model.backend=hf")
        if machine.cuda:
            return "unsloth", "chosen in model.backend"
        return "unsloth", "chosen in model.backend; no CUDA GPU here, so without its fast kernels"
    if not machine.cuda:
        return "hf", f"plain transformers, {_gpu_problem(machine) or 'no CUDA GPU here'}"
    if problem:
        return "hf", f"plain transformers on the GPU, {problem}"
    return "unsloth", f"Unsloth {machine.unsloth} is installed and there is a CUDA GPU"


def _gpu_problem(machine: Machine) -> str | None:
    """Why an NVIDIA GPU that is here cannot be used."""
    if machine.cuda or not machine.nvidia:
        return None
    if machine.torch_cuda is None:
        return (
            f"an NVIDIA driver is here but torch {machine.torch} is a build without CUDA: install "
            f"torch {machine.torch.partition('+')[0]} for CUDA"
        )
    return (
        f"an NVIDIA driver is here but torch {machine.torch} (CUDA {machine.torch_cuda}) cannot "
        "use it: update the driver, or install a torch for an older CUDA"
    )


def _unsloth_problem(machine: Machine) -> str | None:
    for package, installed in (("unsloth", machine.unsloth), ("unsloth-zoo", machine.zoo)):
        if installed is None:
            return f"{package} is not installed: {INSTALL}"
        if _numbers(installed) < _numbers(OLDEST_UNSLOTH):
            return f"{package} {installed} is older than {OLDEST_UNSLOTH}: {INSTALL}"
    early = [name for name in BEFORE_UNSLOTH if name in machine.imported]
    if early and "unsloth" not in machine.imported:
        return (
            f"{early[0]} was imported before Unsloth, which must come first: put `import unsloth` "
            "at the top, in a fresh process"
        )
    return None


def _numbers(version: str) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", version)]


def this_machine() -> Machine:
    """The machine and the process this runs in."""
    return Machine(
        cuda=torch.cuda.is_available(),
        torch=str(torch.__version__),
        torch_cuda=torch.version.cuda,
        nvidia=_nvidia(),
        unsloth=_installed("unsloth", "unsloth"),
        zoo=_installed("unsloth_zoo", "unsloth-zoo"),
        imported=frozenset(sys.modules) & {*BEFORE_UNSLOTH, "unsloth"},
    )


def _nvidia() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES", "0").strip() in ("", "-1"):
        return False
    return Path("/proc/driver/nvidia/version").exists() or bool(shutil.which("nvidia-smi"))


def _installed(module: str, package: str) -> str | None:
    if find_spec(module) is None:
        return None
    try:
        return version(package)
    except PackageNotFoundError:
        return None
