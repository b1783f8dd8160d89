"""One file per data set, with the function that reads it. New files are found (docs/your-own-data.md)."""
