"""Machine translation: the paper's Table 5."""
