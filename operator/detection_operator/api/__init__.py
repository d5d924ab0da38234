"""The DetectionTraining resource: its models, conditions and CustomResourceDefinition."""
