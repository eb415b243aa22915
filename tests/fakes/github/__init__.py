"""A stateful fake of GitHub: an HTTP server on a real bare git repository, held to GitHub's own API descriptions."""

from tests.fakes.github.server import FakeGitHub
from tests.fakes.github.world import Exchange

__all__ = ["Exchange", "FakeGitHub"]
