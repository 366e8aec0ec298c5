"""What the two processes share: reading their settings, their identity, leadership, and what they serve."""
