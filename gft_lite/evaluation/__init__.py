"""Evaluation of a policy on held-out prompts.

accuracy        greedy accuracy, mean@k, pass@k, drift from the base, entropy
suite           held-out set, retention set and drift together, for runs and commands
statistics      intervals and paired tests
lm_eval_tasks   tasks of lm-evaluation-harness

Nothing is re-exported, because `accuracy` and `suite` import torch.
"""
