"""Runs the `leastpriv` command, one module per subcommand.

In: options of the command line.
Out: output and exit code.
"""
