"""The gradient of one micro-batch: the only module in which a method meets a model.

The method is differentiated with respect to the log-probs alone (`models.logps.one_pass`), and that
slope is propagated into the model. So the weight of each token is known, and stored, for every
method.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from accelerate import Accelerator
from torch import Tensor

from gft_lite.config.methods import MethodSection
from gft_lite.methods import LossInputs, Method
from gft_lite.methods.kl import k3
from gft_lite.models import Policy
from gft_lite.models.batching import TokenSequence, collate
from gft_lite.models.logps import one_pass
from gft_lite.training.metrics import BatchMeasurements, StepObserver


def add_gradient(
    part: Sequence[TokenSequence],
    counts: Mapping[bool, int],
    observer: StepObserver,
    *,
    policy: Policy,
    accelerator: Accelerator,
    method: Method,
    options: MethodSection,
    progress: float,
    log_kl: bool,
) -> None:
    """Add one micro-batch's share to the gradients of the policy's parameters.

    Args:
        part: the micro-batch.
        counts: number of tokens to divide by: of self responses (True), of demonstrations (False).
        observer: collects the measurements.
        policy: the model, in training mode.
        accelerator: provides autocast and the loss scaler.
        method: the objective.
        options: the method section of the configuration.
        progress: fraction of the run that is over, in [0, 1].
        log_kl: measure the KL to the reference policy even if the method does not need it.
    """
    with_reference = method.needs_reference(options)
    batch = collate(part, policy.tokenizer.pad_token_id).to(policy.device)
    # The reference policy: hidden states for a full-vocabulary KL, otherwise log-probs only.
    ref_logps = ref_states = None
    if with_reference or method.needs_ref_kl or log_kl:
        with policy.reference(), accelerator.autocast():
            if method.needs_ref_kl:
                ref_states = policy.response_states(batch)
            else:
                ref_logps = policy.token_logps(batch).logps
    with accelerator.autocast():
        states = policy.response_states(batch)  # (N, H), N: all response tokens of the batch
    # Each token counts 1 ÷ (tokens of the step), so that micro-batches add up to one batch.
    is_self = batch.own.unsqueeze(-1)  # (B,) → (B, 1)
    share = batch.flat(1 / torch.where(is_self, counts[True], counts[False]))  # (N,)
    per_token = {
        "advantages": batch.advantages.unsqueeze(-1),
        "own": is_self,
        "ref_logps": ref_logps if with_reference else None,
        "old_logps": batch.old_logps,
    }
    flat = {name: batch.flat(values) for name, values in per_token.items() if values is not None}

    def loss(rows: slice, logps: Tensor, ref_kl: Tensor | None) -> Tensor:
        inputs = {name: values[rows] for name, values in flat.items()}
        return method.loss(options, LossInputs(logps, ref_kl=ref_kl, progress=progress, **inputs))

    # One chunk of logits at a time: loss, statistics, and the gradient of the hidden states.
    scaler = accelerator.scaler
    result = one_pass(
        states,
        batch.flat(batch.targets),
        policy.logits,
        policy.vocab_size,
        loss,
        share if scaler is None else scaler.scale(share),
        ref_states=ref_states,
    )
    # From the hidden states on, ordinary autograd through the layers of the model.
    states.backward(result.hidden_grad)
    logps = batch.padded(result.logps)  # (N,) → (B, T)
    observer.add(
        BatchMeasurements(
            batch=batch,
            logps=logps,
            entropy=batch.padded(result.entropy),
            slope=batch.padded(result.slope),
            loss=(result.loss * share).sum(),
            kl=k3(logps, ref_logps) if ref_logps is not None else None,
        )
    )
