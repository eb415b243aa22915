"""Words for people: pure text, and the one way for untrusted text to leave."""
