"""What AWS itself says of a principal's use: coarse, and a second opinion; it may hold a change back, never adds."""
