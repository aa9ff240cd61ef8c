"""Datasets: imported once into a memory-mapped uint8 store, in an order that only the pixels decide."""

from ralr_viz.data.dataset import NO_BOX, Dataset, Split
from ralr_viz.data.doctor import Check, doctor
from ralr_viz.data.download import download_dataset
from ralr_viz.data.images import read_image_files
from ralr_viz.data.parallel import ParallelText
from ralr_viz.data.registry import DatasetRow, import_dataset, list_datasets, load_dataset, load_text
from ralr_viz.data.spool import Progress
from ralr_viz.data.store import data_root
from ralr_viz.data.view import View
from ralr_viz.data.views import fixed_view

__all__ = [
    "NO_BOX",
    "Check",
    "Dataset",
    "DatasetRow",
    "ParallelText",
    "Progress",
    "Split",
    "View",
    "data_root",
    "doctor",
    "download_dataset",
    "fixed_view",
    "import_dataset",
    "list_datasets",
    "load_dataset",
    "load_text",
    "read_image_files",
]
