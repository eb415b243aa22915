"""The practice that this program makes automatic, as an experiment with the real deploy tools.

An administrator deploys, the records become a policy, and the same commands run under that policy alone, enforced.
"""
