"""COCO metrics of a model, and its detections on single images."""
