"""Gather what a report shows, from two runs, folders of seeds or weights, and write the page."""

from __future__ import annotations

from ralr_viz.workflows.report.inputs import gather_inputs

__all__ = ["gather_inputs"]
