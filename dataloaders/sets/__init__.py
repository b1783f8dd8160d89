"""A file for each data set, with a function that reads it. Files added here are found (docs/your-own-data.md)."""
