"""Checks of a proposal by AWS: validation, custom policy checks, simulation; a failed check does
not end the run.
"""
