"""Leaves the future out: compares a policy from the first runs of a history with the needs of the
later runs.
"""
