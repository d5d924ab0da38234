"""Programs that train in stretches, when told to, each by `python -m`."""
