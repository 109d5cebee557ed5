"""The gradient of one micro-batch: the only place where a method meets a model.

The method is differentiated with respect to the log-probs alone (`models.logps.one_pass`); what
flows into the model is that slope. So the weight each token got is known, and stored, for every
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
        counts: number of tokens to divide by, of self answers (True) and of demonstrations.
        observer: told what was measured.
        policy: the model, ready to train.
        accelerator: gives autocast and the loss scaler.
        method: the objective.
        options: its settings.
        progress: how much of the run is over, in [0, 1].
        log_kl: whether to measure the KL to the reference even where the method has none.
    """
    with_reference = method.needs_reference(options)
    batch = collate(part, policy.tokenizer.pad_token_id).to(policy.device)
    ref_logps = ref_states = None
    if with_reference or method.needs_ref_kl or log_kl:
        with policy.reference(), accelerator.autocast():
            if method.needs_ref_kl:
                ref_states = policy.response_states(batch)
            else:
                ref_logps = policy.token_logps(batch).logps
    with accelerator.autocast():
        states = policy.response_states(batch)
    own = batch.own.unsqueeze(-1)
    share = batch.flat(1 / torch.where(own, counts[True], counts[False]))
    known = {
        "advantages": batch.advantages.unsqueeze(-1),
        "own": own,
        "ref_logps": ref_logps if with_reference else None,
        "old_logps": batch.old_logps,
    }
    flat = {name: batch.flat(values) for name, values in known.items() if values is not None}

    def loss(rows: slice, logps: Tensor, ref_kl: Tensor | None) -> Tensor:
        inputs = {name: values[rows] for name, values in flat.items()}
        return method.loss(options, LossInputs(logps, ref_kl=ref_kl, progress=progress, **inputs))

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
