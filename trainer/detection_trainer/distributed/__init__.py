"""Several workers: who takes part, how they meet, and how TensorFlow connects them."""
