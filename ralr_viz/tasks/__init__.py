"""What is trained for: the loss of a batch, how well it is done, and the data that it is done on."""
