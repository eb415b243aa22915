"""`leastpriv init`: writes the reader role and the workflow from a table of permissions."""
