"""A command run under a policy again and again: its refusals extend the policy, round by round."""
