"""Detection of objects by SSD: its networks, priors, loss and what it finds."""
