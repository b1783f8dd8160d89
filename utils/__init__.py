"""What everything else needs: settings, files, devices, errors, random streams. Imports have no effects."""
