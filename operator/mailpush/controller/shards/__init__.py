"""The shard maps: pods and Leases observed, plans written."""
