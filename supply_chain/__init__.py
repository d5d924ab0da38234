"""What a release contains: its bill of materials, its licences, its workflows."""
