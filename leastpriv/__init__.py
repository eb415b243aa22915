"""Removes the permissions a CI role does not use and adds those it was denied, with proof."""

__version__ = "0.1.0"
