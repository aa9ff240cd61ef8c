"""``python -m ralr_viz``."""

from ralr_viz.cli.app import main

main()
