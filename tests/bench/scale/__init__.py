"""`make bench-scale`: what 100,000 push users cost the operator, its pods and the API server."""
