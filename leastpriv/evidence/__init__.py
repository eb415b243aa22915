"""Collects what one principal used and was denied.

In: calls, denials, and what IAM and Access Analyzer answer.
Out: usage by need and run, with gaps and coverage.
"""
