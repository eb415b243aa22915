"""Repeats, with the real deploy tools, the manual practice that this program automates.

An administrator deploys, the records become a policy, and the same commands run under that policy
alone, enforced.
"""
