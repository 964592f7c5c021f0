"""The pod's Lease and the shard map: what this pod owns, and for how long."""
