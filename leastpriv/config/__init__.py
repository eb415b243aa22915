"""Checks inputs and the config file.

In: inputs of the action, options of the command, `leastpriv.yml`.
Out: typed settings, or one sentence that names the wrong input.
"""
