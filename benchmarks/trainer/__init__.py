"""How fast the trainer is, beside Keras' `fit` and KerasHub: `make bench-trainer`.

A question is a module with `measure(bench) -> str`, the text of its part of the page. Those it is
asked of are programs in `sides`.
"""
