"""How fast the trainer is, beside Keras' `fit` and KerasHub: `make bench-trainer`.

A question is a module with `measure(bench) -> str`, the text of its part of the page. The compared
programs are in `sides`.
"""
