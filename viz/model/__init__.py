"""Pictures of a model: its architecture, weights, activations, and the loss around it."""
