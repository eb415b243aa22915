"""Leave the future out: a policy made from the first runs of a history, asked what the later runs needed."""
