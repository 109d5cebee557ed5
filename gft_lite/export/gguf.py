"""GGUF files, made by the converters of llama.cpp, which must be installed.

gft-lite has no converter of its own: the format and its list of architectures move with llama.cpp.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

from gft_lite.types import GftError, MissingExtraError, ModelError

GgufType = Literal["f32", "f16", "bf16", "q8_0"]
MODEL_SCRIPT, LORA_SCRIPT = "convert_hf_to_gguf.py", "convert_lora_to_gguf.py"
INSTALL = (
    "git clone --depth 1 https://github.com/ggml-org/llama.cpp && "
    "pip install -r llama.cpp/requirements/requirements-convert_hf_to_gguf.txt"
)
SHOWN_LINES = 6


def find_converter(script: str, llama_cpp: Path | None) -> Path:
    """llama.cpp's script: in --llama-cpp, in $LLAMA_CPP_DIR, or on the PATH.

    Raises:
        ModelError: the folder that was named does not have it.
        MissingExtraError: it is not installed; has the install line.
    """
    if llama_cpp is not None:
        if (llama_cpp / script).is_file():
            return llama_cpp / script
        raise ModelError(
            f"--llama-cpp {llama_cpp}: there is no {script} in it; get it with {INSTALL}"
        )
    if named := os.environ.get("LLAMA_CPP_DIR"):
        return find_converter(script, Path(named))
    if on_path := shutil.which(script):
        return Path(on_path)
    raise MissingExtraError(
        f"GGUF files are made by llama.cpp's {script}, which is not installed: {INSTALL}, then "
        "--llama-cpp llama.cpp. `--to merged` does not need it, and Ollama reads that too"
    )


def convert_model(script: Path, model: Path, out: Path, kind: GgufType) -> None:
    """A folder of safetensors → one GGUF file."""
    _call([sys.executable, str(script), str(model), "--outfile", str(out), "--outtype", kind], out)


def convert_adapter(script: Path, adapter: Path, base: Path, out: Path, kind: GgufType) -> None:
    """A PEFT adapter → a GGUF adapter, which is used beside a GGUF of its base."""
    command = [sys.executable, str(script), str(adapter), "--base", str(base)]
    _call([*command, "--outfile", str(out), "--outtype", kind], out)


def _call(command: list[str], out: Path) -> None:
    """Run a converter.

    Raises:
        GftError: it failed; has its last lines.
    """
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0 and out.is_file():
        return
    last_lines = (done.stderr or done.stdout).strip().splitlines()[-SHOWN_LINES:]
    raise GftError(
        f"{Path(command[1]).name} ended with code {done.returncode} and wrote no usable file:\n"
        + "\n".join(last_lines)
    )
