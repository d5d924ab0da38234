"""The subcommands of `detection-trainer`, one module each.

Each has `add_arguments(parser)` and `run(arguments)`, which returns the exit code. Importing one
imports no TensorFlow.
"""
