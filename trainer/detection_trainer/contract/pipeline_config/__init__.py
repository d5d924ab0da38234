"""The TensorFlow Object Detection API's pipeline.config, read and mapped to a training's spec.

Every field is applied, refused if ignoring it would change the result, or listed as ignored with
the reason. Defaults are those of protobuf (object_detection/protos/*.proto, 2.8.0). Imports no
TensorFlow, so that the operator reads a configuration before it creates a pod.
"""
