"""Data sets as arrays or files, the sequence of tasks, and device-resident batches."""
