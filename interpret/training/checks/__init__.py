"""What is looked for in a training, one subject in each file."""
