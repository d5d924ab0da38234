"""Programs that train in stretches, on request; each is started by `python -m`."""
