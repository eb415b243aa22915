"""The committed policy against what is needed."""
