"""What everything needs: settings, files, errors, random streams. What trains, reports and sweeps has a folder each."""
