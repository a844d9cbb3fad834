"""Many experiments from one small file: planned, run by DVC one after the other, recorded."""
