"""What the pipeline costs, measured side by side with plain tools in the same run: `python -m benchmarks`."""
