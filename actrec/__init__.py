"""One reproducible pipeline for recognising actions and behaviour in video. Importing this loads nothing heavy."""
