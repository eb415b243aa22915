"""A local AWS that enforces IAM and records every call as CloudTrail does: see docs/lab.md.

`lab.py` is the door for tests and runs in the product's environment; everything else runs in the lab's own.
"""
