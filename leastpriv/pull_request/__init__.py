"""Branch, commit and pull request of a proposal; receives text and bytes; a failure raises
PullRequestError.
"""
