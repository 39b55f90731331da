"""An image held against the image specification: as a layout in a directory, or as it lies in a registry."""
