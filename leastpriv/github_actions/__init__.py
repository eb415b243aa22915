"""The Actions runner's protocol: context, workflow commands, output files."""
