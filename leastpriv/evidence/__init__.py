"""What the role really did: calls, denials and the gaps between them."""
