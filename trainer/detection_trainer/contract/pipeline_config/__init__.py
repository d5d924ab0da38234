"""The TensorFlow Object Detection API's pipeline.config, read and mapped on a training's spec.

Every field is honoured, refused where leaving it out would change the result, or named as ignored
with the reason. Defaults are protobuf's own (object_detection/protos/*.proto, 2.8.0). Imports no
TensorFlow, so that the operator reads a configuration before any pod is made.
"""
