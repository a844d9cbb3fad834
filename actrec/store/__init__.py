"""The content-addressed store below DVC, and everything that writes or computes items safely."""
