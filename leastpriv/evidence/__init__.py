"""Evidence of what a role did: calls, denials and gaps."""
