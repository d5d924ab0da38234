"""The subcommands of `detection-trainer`, one module each, and their shared modules.

Each has `add_arguments(parser)` and `run(arguments)`, which returns the exit code. `locations` and
`dataset_arguments` read arguments, `pipeline_file` and `pipeline_run` a pipeline.config. Importing
any of them imports no TensorFlow.
"""
