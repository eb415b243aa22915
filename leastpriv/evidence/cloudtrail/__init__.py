"""Calls from CloudTrail records."""
