"""Skeletons: reading and writing them, and what a model is shown of them."""
