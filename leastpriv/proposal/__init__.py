"""What we dare to propose: guards, the proposal, its proof."""
