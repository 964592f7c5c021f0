"""`kubectl mailpush`: what an administrator asks beyond what kubectl itself prints."""
