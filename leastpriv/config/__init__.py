"""Inputs of the action, checked and typed as settings."""
