"""Runs a command under a policy and extends the policy by what was denied, round by round."""
