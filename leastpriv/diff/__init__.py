"""Compares the committed policy with the permissions that are needed."""
