"""Training: one process, one loop over optimizer steps.

worker         a run from its configuration to its adapter; the only entry point
stages         the runs of a pipeline, one after the other
trainer        the loop
rollout        prompts of a step and all seeds → scored groups → token sequences
gradient       token sequences → gradient of the loss
metrics        per-token measurements → the metrics of a step
optimizer      optimizer and learning rate
checkpoints    what a run needs to continue
likelihood     responses ranked by the policy's likelihood
memory_probe   the longest step tried before the first one
provenance     hashes of what a run was made from, compared when it continues
runaway        responses that turn into noise, detected from the step events
best_checkpoint   the checkpoint with the best held-out accuracy

Import the modules by their full path: `worker` and `stages` load no torch.
"""
