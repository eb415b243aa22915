"""Compares a committed policy with the evidence, with another version and with the live role.

In: policies and usage.
Out: the entries that are missing, unused or too wide.
"""
