"""Speaks the protocol of the Actions runner.

In: the job's environment and event.
Out: workflow commands, output files and the exit code.
"""
