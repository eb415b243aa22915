"""Writes branch, commit and pull request; a failure raises PullRequestError.

In: texts and bytes.
Out: a pull request on GitHub, or a branch in git.
"""
