"""Watches DetectionTraining resources and keeps one training attempt running for each."""
