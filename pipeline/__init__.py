"""The verbs: one thin script per stage. Each reads its section of params.yaml, calls `actrec`, and writes its outs."""
