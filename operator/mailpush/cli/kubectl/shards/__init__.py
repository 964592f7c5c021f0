"""`kubectl mailpush shards` and `plan`: which pod has whom, what moves, and what a change would move."""
