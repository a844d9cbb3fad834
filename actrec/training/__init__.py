"""One loop trains everything; all its randomness is a function of the seed and of where it stands."""
