"""Watches DetectionTraining resources and keeps one training attempt going for each."""
