"""Evaluation of a policy on held-out prompts.

accuracy        greedy accuracy, mean@k, pass@k, drift from the base, entropy
suite           what a run reports: target, retention set, drift
forgetting      the retention set before and after
statistics      intervals and paired tests
lm_eval_tasks   tasks of lm-evaluation-harness

Import the modules by their full path: `suite` loads torch only when it is called.
"""
