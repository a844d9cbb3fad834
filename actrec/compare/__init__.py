"""Experiments side by side: read out of git, laid out as a table, drawn."""
