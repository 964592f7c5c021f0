"""`make lifecycle`: what an administrator does to a site in its life, with both Helms, on the demo's cluster."""
