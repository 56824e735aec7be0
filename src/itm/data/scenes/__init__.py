"""The built-in data set: generated scenes with captions whose relation to every image is known exactly."""

from itm.data.scenes.files import read_scenes, write_images, write_scenes
from itm.data.scenes.tabulate import Tables, tables

__all__ = ["Tables", "read_scenes", "tables", "write_images", "write_scenes"]
