"""Guards: the named rules that hold a change back."""
