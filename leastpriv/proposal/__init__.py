"""Decides which changes of a policy to propose.

In: differences, evidence and options.
Out: the edited policy, its changes, what guards held back, and the proof.
"""
