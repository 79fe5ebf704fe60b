"""The data sets: which there are, where they lie, and how to get them.

A set lies in a folder of its own below `root()`. Nothing is fetched or made unless `get` is called, which is what
`l2l data NAME` does; a folder that is there already is taken with `take`.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from l2l_snn.data.fetch import Progress, fetch, sha256
from l2l_snn.data.idx import read_bytes
from l2l_snn.validate import did_you_mean, message


class Content(NamedTuple):
    """What a file holds, once it is unpacked."""

    size: int  # bytes
    sha256: str


@dataclass(frozen=True)
class DataSet:
    """A data set."""

    title: str
    licence: str
    files: Mapping[str, Content] = field(default_factory=dict)  # by name; gzipped they have .gz behind it
    source: str = ""  # URL of the folder with the gzipped files; "": it can't be fetched
    download: int = 0  # bytes to fetch
    folders: tuple[str, ...] = ()  # what there is instead of single files
    made: str = ""  # of what it is made here; "": it isn't


SETS: Mapping[str, DataSet] = MappingProxyType(
    {
        "mnist": DataSet(
            "MNIST: 70,000 handwritten digits, 28 x 28 (LeCun et al. 1998)",
            "CC BY-SA 3.0",
            {
                "train-images-idx3-ubyte": Content(
                    47_040_016, "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
                ),
                "train-labels-idx1-ubyte": Content(
                    60_008, "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
                ),
                "t10k-images-idx3-ubyte": Content(
                    7_840_016, "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
                ),
                "t10k-labels-idx1-ubyte": Content(
                    10_008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
                ),
            },
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            11_594_722,
        ),
        "fashion_mnist": DataSet(
            "Fashion-MNIST: 70,000 pictures of clothes, 28 x 28 (Xiao et al. 2017)",
            "MIT",
            {
                "train-images-idx3-ubyte": Content(
                    47_040_016, "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
                ),
                "train-labels-idx1-ubyte": Content(
                    60_008, "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
                ),
                "t10k-images-idx3-ubyte": Content(
                    7_840_016, "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
                ),
                "t10k-labels-idx1-ubyte": Content(
                    10_008, "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
                ),
            },
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            30_878_645,
        ),
        "digit_events": DataSet(
            "Events of MNIST's digits in three saccades, 34 x 34 x 2: a stand-in for N-MNIST",
            "as MNIST",
            folders=("Train", "Test"),
            made="mnist",
        ),
        "n_mnist": DataSet(
            "N-MNIST: MNIST's digits seen by an event camera, 34 x 34 x 2 (Orchard et al. 2015)",
            "CC BY-SA 4.0",
            folders=("Train", "Test"),
        ),
        "flite_speech": DataSet(
            "Sentences by flite's four voices, one of them for testing, with their phones: a stand-in for TIMIT",
            "made here, by free voices",
            folders=("TRAIN", "TEST"),
            made="sentences, by Debian's flite",
        ),
        "timit": DataSet(
            "TIMIT: 6,300 sentences by 630 speakers, with their phones (Garofolo et al. 1993)",
            "LDC93S1, to be bought from the Linguistic Data Consortium",
            folders=("TRAIN", "TEST"),
        ),
    }
)


def root() -> Path:
    """Return the folder of all data sets: the environment's L2L_DATA, or l2l_snn in the user's cache."""
    given = os.environ.get("L2L_DATA")
    return Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "l2l_snn"


def find_set(name: str) -> DataSet:
    """Return the data set of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in SETS:
        raise ValueError(message("data set", "one of " + ", ".join(SETS), repr(name), did_you_mean(name, SETS)))
    return SETS[name]


def find_files(name: str, folder: Path | None = None) -> dict[str, Path]:
    """Return the files of a set that are there, by their name in `SETS`; not checked but for their names."""
    folder = root() / name if folder is None else folder
    both = {file: (folder / file, folder / f"{file}.gz") for file in find_set(name).files}
    return {file: next(path for path in paths if path.is_file()) for file, paths in both.items() if _any_file(paths)}


def missing_files(name: str, folder: Path | None = None) -> list[str]:
    """Return the names of a set's files and folders that aren't there."""
    within = root() / name if folder is None else folder
    folders = [one for one in find_set(name).folders if not (within / one).is_dir()]
    return sorted(set(find_set(name).files) - set(find_files(name, folder))) + folders


def require(name: str) -> dict[str, Path]:
    """Return all files of a set.

    Raises:
        FileNotFoundError: some aren't there; the text says how to get them.
    """
    require_folder(name)
    return find_files(name)


def require_folder(name: str) -> Path:
    """Return the folder of a set of which nothing is missing; raises as `require`."""
    missing, one = missing_files(name), find_set(name)
    if missing:
        own = f"name its folder: l2l data {name} --take FOLDER"
        todo = f"get it with: l2l data {name}, or {own}" if one.source or one.made else own
        raise FileNotFoundError(message(f"data set {name}", f"its files in {root() / name}", f"no {missing[0]}", todo))
    return root() / name


def get(name: str, progress: Progress = lambda done, total: None) -> list[Path]:
    """Fetch those files of a set that aren't there, and return them.

    Raises:
        ValueError: a file that came isn't the one that was published; it is removed.
        OSError: the source can't be reached.
    """
    described, fetched = find_set(name), []
    if not described.source:
        raise ValueError(message(f"data set {name}", "one that can be fetched", "none", "name its folder with --take"))
    for file in missing_files(name):
        path = fetch(f"{described.source}{file}.gz", root() / name / f"{file}.gz", progress)
        try:
            check_file(name, file, path)
        except ValueError:
            path.unlink()
            raise
        fetched.append(path)
    return fetched


def take(name: str, folder: Path) -> Path:
    """Make a set of a folder that the user has: a link below `root()`; every file is checked.

    Raises:
        ValueError: a file is missing or isn't the published one, or the set is there already.
    """
    missing = missing_files(name, folder)
    if missing:
        raise ValueError(message(str(folder), f"the files of {name}, packed or not", f"no {missing[0]}"))
    for file, path in find_files(name, folder).items():
        check_file(name, file, path)
    link = root() / name
    if link.is_symlink():
        link.unlink()
    if link.exists():
        raise ValueError(message(str(link), "no folder there", "one", "remove it first"))
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(folder.resolve(), target_is_directory=True)
    return link


def check_file(name: str, file: str, path: Path) -> None:
    """Refuse a file that doesn't hold what was published.

    Raises:
        ValueError: another size or checksum.
    """
    expected, content = find_set(name).files[file], read_bytes(path)
    found = Content(len(content), sha256(content))
    if found != expected:
        got = f"{found.size} bytes, sha256 {found.sha256[:12]}..."
        expect = f"{expected.size} bytes, sha256 {expected.sha256[:12]}..."
        raise ValueError(message(str(path), expect, got, "it isn't the published one, or was cut off"))


def _any_file(paths: tuple[Path, ...]) -> bool:
    return any(path.is_file() for path in paths)
