"""`make chaos`: a steady stream of mail on the demo's cluster, while one fault after another happens to it."""
