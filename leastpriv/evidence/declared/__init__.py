"""Derives needs of basis *declared* from templates and plans, before any deployment has run."""
