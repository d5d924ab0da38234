"""Tells the product's story on real photographs: `python -m demo run`, `python -m demo clean`."""
