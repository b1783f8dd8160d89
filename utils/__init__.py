"""What everything needs: settings, files, errors, random streams. What trains, reports and sweeps has a folder each."""

from utils import startup

startup.prepare()  # before anything is printed, opened or imported that some systems lack
