"""What the operator plans: placement, death, restoring. Pure."""
