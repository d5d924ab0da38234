"""How long a training takes while a user of another namespace attacks the operator."""
