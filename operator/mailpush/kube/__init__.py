"""A thin client of the Kubernetes API for dictionaries: what controller and listener share."""
