"""From a user's files to manifest rows: readers, splits, checks, and the manifest itself."""
