"""Large genomes: one Parquet file a generation, beside the database.

Legend: K individuals that are kept, D search coordinates.

    genomes = Genomes("/data/l2l.genomes", identity)
    name = genomes.write("line-1", 3, numbers, z)        # "line-1/g000003-1f0c9a3b-5d2e....parquet"
    numbers, z = genomes.read(name, size=D)

A file is written under another name, synced and renamed before the commit that names it, and never changed after: a
driver that dies in between leaves a file that no commit names, which `l2l prune` removes. The columns are `individual`
(int32) and `z` (8 D bytes, little-endian float64).
"""

import os
import re
import uuid
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import make_url

from l2l_snn.storage.credentials import scrubbed, shown
from l2l_snn.storage.database import GENOMES, StoreError, explained, file_of

LARGE = 64 * 1024  # bytes of a genome above which it goes into a file
_PIECE = 16 * 2**20  # bytes that are read to find one genome
_PACKAGES = f"genomes above {LARGE // 1024} KB need: pip install pyarrow fsspec"


class GenomeMissing(StoreError):
    """A genome wasn't kept, or can't be read."""


def place_of(url: str) -> str | None:
    """Return where the store at `url` keeps large genomes: a folder or an URL; None if it was given none.

    >>> place_of("postgresql://host/db"), place_of("postgresql://host/db?genomes=s3://bucket/l2l")
    (None, 's3://bucket/l2l')
    """
    given = make_url(url).query.get(GENOMES)
    if given:
        given = given if isinstance(given, str) else given[-1]
        return given if "://" in given else str(Path(given).absolute())
    file = file_of(url)
    if file is None:
        return None
    path = file.absolute()
    return str(path.with_suffix(".genomes") if path.suffix == ".db" else f"{path}.genomes")


class Genomes:
    """The genome files of one store, in a folder that others may use too."""

    def __init__(self, place: str, identity: str):
        """Nothing is touched before it is needed.

        Args:
            place: a folder, or a URL that fsspec knows: s3://bucket/folder.
            identity: of the store: stands in the names of its files.
        """
        self._place, self._identity = place, identity
        self.place_shown = shown(place)

    def prepare(self, run: str) -> None:
        """Make the run's folder, so that what is missing is told before anything is evaluated.

        Raises:
            StoreError: a package isn't installed, or the folder can't be made.
        """
        with self._explain_errors(f"making the genome folder of run {run!r}"):
            import pyarrow  # noqa: F401

            files, root = self._open_place()
            files.makedirs(f"{root}/{run}", exist_ok=True)

    def write(self, run: str, generation: int, numbers: np.ndarray, z: np.ndarray) -> str:
        """Write the genomes of a generation to a new file.

        Args:
            run: the run's name.
            generation: its number.
            numbers: (K,) of the individuals, ascending.
            z: (K, D) float64.

        Returns:
            The file's name below the place.

        Raises:
            StoreError: it can't be written.
        """
        name = f"{run}/g{generation:06d}-{self._identity}-{uuid.uuid4().hex[:16]}.parquet"
        with self._explain_errors(f"writing the genomes of generation {generation} of run {run!r}"):
            import pyarrow as pa
            from pyarrow import parquet

            files, root = self._open_place()
            z = np.ascontiguousarray(z, "<f8")
            width = 8 * z.shape[1]
            bytes_ = pa.Array.from_buffers(pa.binary(width), len(z), [None, pa.py_buffer(z)])
            table = pa.table({"individual": pa.array(numbers, pa.int32()), "z": bytes_})
            path, temporary = f"{root}/{name}", f"{root}/{name}.part"
            files.makedirs(f"{root}/{run}", exist_ok=True)
            try:
                with files.open(temporary, "wb") as file:
                    options = {"compression": "lz4", "use_dictionary": False, "write_page_checksum": True}
                    parquet.write_table(table, file, row_group_size=max(1, _PIECE // width), **options)
                    if _is_local(files):  # elsewhere a file is whole once it is closed
                        file.flush()
                        os.fsync(file.fileno())
                files.mv(temporary, path)
                if _is_local(files):
                    _sync_folder(path)
            except BaseException:
                if files.exists(temporary):
                    files.rm_file(temporary)
                raise
        return name

    def read(self, name: str, size: int, individual: int | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return what `write` wrote, or of it one individual alone.

        Args:
            name: what `write` returned.
            size: D.
            individual: its number; all if left out.

        Returns:
            numbers (K,), z (K, D).

        Raises:
            GenomeMissing: the file isn't there, or isn't what it was.
        """
        try:
            from pyarrow import parquet

            files, root = self._open_place()
            with files.open(f"{root}/{name}", "rb") as file:
                opened = parquet.ParquetFile(file, page_checksum_verification=True)
                groups = range(opened.num_row_groups)
                if individual is not None:
                    groups = [group for group in groups if _may_hold(opened, group, individual)]
                table = opened.read_row_groups(list(groups))
            numbers = table["individual"].to_numpy()
            pieces = [_as_matrix(chunk, size) for chunk in table["z"].chunks]
        except ImportError as error:
            raise GenomeMissing(f"{self._locate_file(name)} can't be read: {error}; {_PACKAGES}") from error
        except Exception as error:  # damaged bytes may fail anywhere in the reader
            reason = scrubbed(" ".join(str(error).split()), self._place)[:200]
            raise GenomeMissing(
                f"{self._locate_file(name)} can't be read: {reason}; put a backup in its place"
            ) from error
        z = np.concatenate(pieces) if pieces else np.empty((0, size))
        if individual is not None:
            z, numbers = z[numbers == individual], numbers[numbers == individual]
        return numbers, z

    def sizes(self) -> dict[str, int]:
        """Return the bytes of each file that this store wrote, those of unfinished writes included, by name."""
        if "://" not in self._place and not Path(self._place).exists():
            return {}  # nor need any package be there
        with self._explain_errors("listing the genome files"):
            files, root = self._open_place()
            if not files.exists(root):
                return {}
            ours = re.compile(rf"[^/]+/g\d{{6,}}-{self._identity}-[0-9a-f]{{16}}\.parquet(\.part)?")
            found = {
                path.removeprefix(f"{root}/"): entry["size"] for path, entry in files.find(root, detail=True).items()
            }
        return {name: size for name, size in found.items() if ours.fullmatch(name)}

    def remove(self, name: str) -> None:
        """Remove a file, and its run's folder if that was the last."""
        with self._explain_errors("removing a genome file"):
            files, root = self._open_place()
            files.rm_file(f"{root}/{name}")
            folder = f"{root}/{name.partition('/')[0]}"
            if _is_local(files) and not os.listdir(folder):
                os.rmdir(folder)

    def _open_place(self) -> tuple[Any, str]:
        """Return fsspec's file system and the place's path on it."""
        import fsspec

        files, root = fsspec.core.url_to_fs(self._place)
        return files, root.rstrip("/")

    def _locate_file(self, name: str) -> str:
        return f"the genome file {name} in {self.place_shown}"

    def _explain_errors(self, what: str) -> AbstractContextManager[None]:
        return explained(
            f"{what} in", self._place, _find_advice, (OSError, ValueError, ImportError)
        )  # fsspec's and pyarrow's


def _find_advice(error: Exception, reason: str) -> str:
    return _PACKAGES if isinstance(error, ImportError) else "nothing is lost that was stored"


def _may_hold(opened: Any, group: int, individual: int) -> bool:
    statistics = opened.metadata.row_group(group).column(0).statistics
    return statistics is None or statistics.min <= individual <= statistics.max


def _as_matrix(chunk: Any, size: int) -> np.ndarray:
    """Return an arrow array of 8 D bytes a row as (rows, D)."""
    if chunk.null_count or chunk.type.byte_width != 8 * size:
        raise ValueError(f"it has rows of {chunk.type}, expected {8 * size} bytes")
    start = chunk.offset * size
    return np.frombuffer(chunk.buffers()[1], "<f8")[start : start + len(chunk) * size].reshape(-1, size)


def _is_local(files: Any) -> bool:
    from fsspec.implementations.local import LocalFileSystem

    return isinstance(files, LocalFileSystem)


def _sync_folder(path: str) -> None:
    """Make the new names of files last: those in a folder, and the folder's own."""
    for folder in (Path(path).parent, Path(path).parent.parent):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
