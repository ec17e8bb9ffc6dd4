"""Finds the photos that annotations name, and never one outside the dataset."""

from crossface.data.rejects import Reason, Reject
from crossface.data.tree import Tree
from crossface.ingest.readers.face import reject


class PhotoFolder:
    """The photos below one folder of a dataset."""

    def __init__(self, tree: Tree, root: str) -> None:
        self._tree = tree
        self._root = root

    def uri(self, name: str) -> str:
        """Where the photo at the relative path ``name`` lies."""
        return self._tree.uri(self._place(name))

    def fault(self, name: str) -> Reject | None:
        """Why the photo at the relative path ``name`` cannot be used, or None."""
        folder, _, file = self._place(name).rpartition("/")
        size = self._tree.sizes(folder).get(file)
        if size is None:
            return reject(self.uri(name), Reason.MISSING_FILE, "the photo is not there")
        if size == 0:
            return reject(self.uri(name), Reason.EMPTY_FILE, "the photo has no bytes")
        return None

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}" if self._root else name
