"""Runs one target or several from settings to a published result.

In: settings, sources and policy files.
Out: for each target a pull request, a review or a report.
"""
