"""Networks: backbones turn clips into tokens, a neck joins them, heads score classes. One architecture a file."""
