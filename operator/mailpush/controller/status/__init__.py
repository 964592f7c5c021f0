"""What the operator reports, computed without any I/O."""
