"""Branch, commit and pull request of a proposal; receives text and bytes, never policies."""
