"""Small trainings and datasets."""
