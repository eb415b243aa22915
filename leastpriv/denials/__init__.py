"""Reads what texts say about denials.

In: messages of AWS and of tools, job logs.
Out: denials: action, resource, principal, and the policy type that denied.
"""
