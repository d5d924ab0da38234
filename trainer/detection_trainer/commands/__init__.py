"""The subcommands of `detection-trainer`, one module each, and what they share.

Each has `add_arguments(parser)` and `run(arguments)`, which returns the exit code. Shared are
`locations` and `dataset_arguments`, which read arguments, and `pipeline_file` and `pipeline_run`,
which read a pipeline.config. Importing one imports no TensorFlow.
"""
