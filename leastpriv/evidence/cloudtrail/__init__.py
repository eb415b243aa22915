"""Reads calls from CloudTrail records."""
