"""The branch, commit and pull request: receives text and bytes, never policies."""
