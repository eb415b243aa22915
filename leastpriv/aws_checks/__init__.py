"""Has AWS check a proposal; a failed check does not end the run.

In: a proposed policy.
Out: findings of policy validation, custom policy checks and simulation.
"""
