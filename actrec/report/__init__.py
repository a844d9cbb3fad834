"""From scores to the files in results/."""
