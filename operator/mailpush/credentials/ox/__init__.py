"""OX's own table of credentials, one in each user schema: read, and where that is chosen written. No row is deleted."""
