"""Denials: what a refusal message says, and who refused."""
