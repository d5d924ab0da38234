"""Shows the product on real photographs: `python -m demo run`, `python -m demo clean`."""
