"""Runs a command under a policy and extends the policy by what was denied, round by round.

In: a command, a policy and a strategy.
Out: the policy under which the command succeeds, or what stops it.
"""
