"""Reads CloudTrail trails: folders, S3, CloudWatch Logs, Athena, event history.

In: a source, a window and principals.
Out: calls, gaps, and the coverage of each source.
"""
