"""One pass over the head beside autograd through all logits, and beside TRL's chunked log-probs.

    python benchmarks/logprobs.py --out benchmarks/results/logprobs.json

Value and gradient of the GFT loss with respect to the hidden states, the head frozen as it is under
LoRA. TRL's is the function its trainers use (`trl.kernels.ChunkedLogProbFunction`, entropy on, as
in GRPOTrainer; on a CPU its torch version runs). Every measurement is a process of its own; the
three take turns, and a ratio is the median over rounds of the ratio within a round. Memory is the
peak above what the process held before (Linux resident set, or CUDA allocations).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gft_lite.methods.gft import gft_loss

SIDES = ("naive", "ours", "trl")
TAU = 0.1
TRL_CHUNK = "_CHUNKED_LOGPROB_CHUNK_SIZE"  # the vocabulary width that TRL's trainers pass


class Problem:
    """Random states of a model of this shape; the same for every side."""

    def __init__(self, tokens: int, hidden: int, vocabulary: int, device: str, dtype: str) -> None:
        torch.manual_seed(0)
        options = {"device": device, "dtype": getattr(torch, dtype)}
        self.head = torch.nn.Linear(hidden, vocabulary, bias=False, **options)
        self.head.requires_grad_(False).weight.normal_(0, 0.02)
        self.states = torch.randn(tokens, hidden, **options).requires_grad_()
        self.targets = torch.randint(vocabulary, (tokens,), device=device)
        self.advantages = torch.randn(tokens, device=device)

    def loss(self, rows: slice, logps: Tensor) -> Tensor:
        return gft_loss(logps, self.advantages[rows], TAU)


def naive(problem: Problem) -> Tensor:
    """All logits at once, left to autograd."""
    log_probs = problem.head(problem.states).float().log_softmax(-1)
    logps = log_probs.gather(-1, problem.targets[:, None])[:, 0]
    total = problem.loss(slice(None), logps).mean()
    total.backward()
    return total


def ours(problem: Problem) -> Tensor:
    from gft_lite.models.logps import one_pass

    share = torch.full_like(problem.advantages, 1 / len(problem.targets))
    found = one_pass(
        problem.states,
        problem.targets,
        problem.head,
        problem.head.out_features,
        lambda rows, logps, ref_kl: problem.loss(rows, logps),
        share,
    )
    problem.states.backward(found.hidden_grad)
    return (found.loss * share).sum()


def trl(problem: Problem) -> Tensor:
    from trl.kernels import ChunkedLogProbFunction
    from trl.trainer import utils

    logps, *_ = ChunkedLogProbFunction.apply(
        problem.states,
        problem.head.weight,
        None,
        problem.targets,
        1.0,
        getattr(utils, TRL_CHUNK),
        None,
        1.0,
        ("log_probs", "entropy"),
    )
    total = problem.loss(slice(None), logps).mean()
    total.backward()
    return total


def measure(side: str, shape: argparse.Namespace, out: Path) -> None:
    """One side, in this process: seconds, peak memory, loss and gradient into a file."""
    run: Callable[[Problem], Tensor] = {"naive": naive, "ours": ours, "trl": trl}[side]
    run(Problem(8, 64, 1024, shape.device, shape.dtype))  # imports and first calls
    problem = Problem(shape.tokens, shape.hidden, shape.vocabulary, shape.device, shape.dtype)
    memory = Peak(shape.device)
    started = time.perf_counter()
    loss = run(problem)
    if shape.device == "cuda":
        torch.cuda.synchronize()
    seconds = time.perf_counter() - started
    found = {"seconds": seconds, "peak_mib": memory.above_start_mib(), "loss": float(loss.detach())}
    torch.save({**found, "grad": problem.states.grad.cpu()}, out)


class Peak:
    """The most memory held since this was made, above what was held then."""

    def __init__(self, device: str) -> None:
        self.on_gpu = device == "cuda"
        if self.on_gpu:
            torch.cuda.reset_peak_memory_stats()
            self._start = torch.cuda.memory_allocated() / 2**20
        else:
            Path("/proc/self/clear_refs").write_text("5")  # the high-water mark becomes VmRSS
            self._start = _status_mib("VmRSS")

    def above_start_mib(self) -> float:
        now = torch.cuda.max_memory_allocated() / 2**20 if self.on_gpu else _status_mib("VmHWM")
        return now - self._start


def _status_mib(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def compare(shape: argparse.Namespace) -> dict[str, Any]:
    """All rounds, and the ratios between the sides."""
    rounds: list[dict[str, dict[str, Any]]] = []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(shape.rounds):
            rounds.append({})
            for side in SIDES:
                out = Path(folder) / side
                command = [sys.executable, __file__, *sys.argv[1:], "--side", side]
                subprocess.run([*command, "--out", str(out)], check=True)
                rounds[-1][side] = torch.load(out)
                seconds, peak = rounds[-1][side]["seconds"], rounds[-1][side]["peak_mib"]
                print(f"{side:6} {seconds:8.2f} s {peak:9.0f} MiB", file=sys.stderr, flush=True)

    def ratio(name: str, one: str, other: str) -> float:
        return round(statistics.median(r[one][name] / r[other][name] for r in rounds), 4)

    wanted = rounds[0]["naive"]["grad"].double()
    return {
        "ratios": {
            "seconds_ours_to_trl": ratio("seconds", "ours", "trl"),
            "seconds_ours_to_naive": ratio("seconds", "ours", "naive"),
            "peak_ours_to_naive": ratio("peak_mib", "ours", "naive"),
            "peak_ours_to_trl": ratio("peak_mib", "ours", "trl"),
        },
        "gradient_relative_difference_to_naive": {
            side: float((rounds[0][side]["grad"].double() - wanted).norm() / wanted.norm())
            for side in ("ours", "trl")
        },
        "loss": {side: rounds[0][side]["loss"] for side in SIDES},
        "rounds": [
            {
                side: {name: round(found[name], 3) for name in ("seconds", "peak_mib")}
                for side, found in one.items()
            }
            for one in rounds
        ],
        "shape": {k: getattr(shape, k) for k in ("tokens", "hidden", "vocabulary", "dtype")},
        "device": torch.cuda.get_device_name() if shape.device == "cuda" else "cpu",
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "transformers", "trl")},
        "python": platform.python_version(),
        "date": time.strftime("%Y-%m-%d"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--hidden", type=int, default=896)
    parser.add_argument("--vocabulary", type=int, default=151_936)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        measure(asked.side, asked, asked.out)
        return
    result = compare(asked)
    asked.out.write_text(json.dumps(result, indent=1) + os.linesep, encoding="utf-8")
    print(json.dumps({k: v for k, v in result.items() if k != "rounds"}, indent=1))


if __name__ == "__main__":
    main()
