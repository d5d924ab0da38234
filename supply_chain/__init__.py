"""What a release is made of: its bill of materials, its licences, its workflows."""
