"""From class probabilities to numbers."""
