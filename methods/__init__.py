"""The methods of the papers, each a small subclass or a reward function on `trl.GRPOTrainer`."""
