"""OX's own table of credentials, one in each user schema. It is read, and nothing of it is ever written or deleted."""
