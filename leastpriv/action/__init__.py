"""Runs the action as a step of a GitHub Actions job.

In: inputs of the step.
Out: outputs, summary, annotations and exit code.
"""
