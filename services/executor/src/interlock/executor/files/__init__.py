"""Access to files below a directory that somebody else may be changing, without ever leaving it."""

from interlock.executor.files.names import split_path, to_bytes, to_text
from interlock.executor.files.read import FileContent, Listed, list_directory, read_regular
from interlock.executor.files.remove import remove_tree
from interlock.executor.files.root import Root

__all__ = [
    "FileContent",
    "Listed",
    "Root",
    "list_directory",
    "read_regular",
    "remove_tree",
    "split_path",
    "to_bytes",
    "to_text",
]
