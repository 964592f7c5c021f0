"""HTTP servers of ours: safe against bad clients."""
