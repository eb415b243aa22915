"""A stateful fake of GitHub: an HTTP server on a bare git repository, validated by GitHub's API
descriptions.
"""

from tests.fakes.github.records import Exchange
from tests.fakes.github.server import FakeGitHub

__all__ = ["Exchange", "FakeGitHub"]
