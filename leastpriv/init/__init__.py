"""`leastpriv init`: the role that reads the evidence, and the workflow; text out of a table of permissions."""
