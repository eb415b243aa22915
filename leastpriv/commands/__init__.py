"""What each command of `leastpriv` does, from its options to its exit code; what fails is caught above (`cli.py`)."""
