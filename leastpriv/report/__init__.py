"""Reports for people and machines; `phrases` is the only way for untrusted text into them."""
