"""One self-contained HTML page that compares two networks from their saved results."""
