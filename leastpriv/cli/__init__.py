"""The `leastpriv` command: options, one module per command, and output."""
