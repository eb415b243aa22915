"""The mapper that read its tables call by call: what the compiled one is held against."""
