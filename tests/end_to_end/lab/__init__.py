"""A local AWS that enforces IAM and records every call as CloudTrail does: see
docs/contributing/lab.md.

Tests use `lab.py`, which runs in the product's environment; all other modules run in the lab's own.
"""
