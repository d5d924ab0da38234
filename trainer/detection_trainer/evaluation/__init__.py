"""COCO metrics of a model, and detections in single images."""
