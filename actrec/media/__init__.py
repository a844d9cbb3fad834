"""From media files to arrays: what a header says, which frames make a clip, and their pixels."""
