"""What takes several steps: the whole of `why`, the paper's figures, a report, and saving a result with its figure."""
