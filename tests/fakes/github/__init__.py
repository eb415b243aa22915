"""A stateful fake of GitHub: an HTTP server on a real bare git repository, held to GitHub's own API descriptions."""

from tests.fakes.github.records import Exchange
from tests.fakes.github.server import FakeGitHub

__all__ = ["Exchange", "FakeGitHub"]
