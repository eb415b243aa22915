"""Reports for people and machines; `escape` is the only way for untrusted text into them."""
