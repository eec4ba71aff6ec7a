"""Many copies of the model behind one address, with Ray Serve."""
