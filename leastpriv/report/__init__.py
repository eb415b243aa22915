"""Writes reports for people and machines; untrusted text passes `escape` only.

In: a proposal, a review or a drift check.
Out: Markdown, HTML, JSON and SARIF.
"""
