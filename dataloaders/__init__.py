"""Data sets as arrays, the sequence of tasks, and device-resident batches."""
