"""What everything needs: settings, files, errors, random streams. What trains, reports and sweeps has a folder each."""

from utils import startup, threads

threads.choose_waiting()  # before torch is looked for, let alone loaded: it would be too late
startup.prepare()  # before anything is printed, opened or imported that some systems lack
