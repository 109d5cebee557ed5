"""Public benchmarks, by their names in EleutherAI's lm-evaluation-harness (optional package).

The harness downloads the data sets of its tasks, only when `run_tasks` is called.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any

from gft_lite.types import MissingExtraError, ModelError

INSTALL = "pip install lm-eval"


def check_installed() -> None:
    """Raise MissingExtraError, with the install command, if the harness is not installed."""
    if find_spec("lm_eval") is None:
        raise MissingExtraError(f"--lm-eval needs the lm-evaluation-harness: {INSTALL}")


def run_tasks(policy: Any, tasks: Sequence[str], limit: int | None, batch: int = 8) -> Any:
    """The harness's own results, task → metric → value, for the policy in its current state.

    Raises:
        MissingExtraError: the harness is not installed.
        ModelError: a task it does not know, or whose data it cannot get.
    """
    check_installed()
    import lm_eval
    from lm_eval.models.huggingface import HFLM

    policy.sample_mode()
    model = HFLM(pretrained=policy.model, tokenizer=policy.tokenizer, batch_size=batch)
    try:
        results = lm_eval.simple_evaluate(model=model, tasks=list(tasks), limit=limit)
    except (KeyError, ValueError, OSError) as error:
        first = (str(error).strip().splitlines() or ["no reason given"])[0][:200]
        raise ModelError(f"--lm-eval {', '.join(tasks)}: {first}") from error
    return results["results"]
