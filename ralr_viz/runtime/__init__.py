"""Where and how work runs: device, precision, the processes that share it, and the signals that stop it."""
