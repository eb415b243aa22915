"""Works out which permissions a CI role needs and proposes the policy change, with proof."""

__version__ = "0.1.0"
