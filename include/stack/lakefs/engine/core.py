"""What all parts of the engine stand on: the open store."""

from pathlib import Path


class Core:
    """An open store in a folder.

    Args:
        data_dir: Folder of the store, created if absent, with mode 0700.
    """

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir

    def close(self) -> None:
        """Finish queued writes and close the store; the engine is of no use afterwards."""
        raise NotImplementedError
