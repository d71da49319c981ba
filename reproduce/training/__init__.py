"""Training on TRL: arguments, engines, processes, warm start, bases."""
