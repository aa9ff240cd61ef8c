"""Classification of images: the paper's Tables 1, 2 and 6 to 9."""
