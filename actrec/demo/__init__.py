"""The embedded demo data set: synthetic clips in which only the order of the frames tells the action, or pictures."""
