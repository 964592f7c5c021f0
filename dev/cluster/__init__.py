"""The local Kubernetes: its control plane, its nodes, and how both are taken away."""
