"""The policy document as the user wrote it: reading, judging requests, the smallest edit."""
