"""`make demo`: the main job of Mail Push on a real Kubernetes with two nodes, a real Dovecot and real mail."""
