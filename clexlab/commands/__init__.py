"""The commands of `clexlab` that take a model, one module each, and what they share."""
