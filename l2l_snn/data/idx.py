"""The IDX format of MNIST and Fashion-MNIST (LeCun et al. 1998): arrays with their type and shape in front.

Two zero bytes, a code of the type, the number of axes; the length of each axis as big-endian int32; then the values.
"""

import gzip
from math import prod
from pathlib import Path

import numpy as np

from l2l_snn.validate import message

TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> np.ndarray:
    """Return the array of an IDX file, gzipped or not, in the machine's byte order.

    Raises:
        ValueError: it isn't one, or it is cut off.
    """
    content = read_bytes(path)
    code, axes = (content[2], content[3]) if len(content) >= 4 and content[:2] == b"\0\0" else (0, 0)
    head = 4 + 4 * axes
    if code not in TYPES or len(content) < head:
        raise ValueError(message(str(path), "an IDX file", f"{len(content)} bytes that begin with {content[:4]!r}"))
    dtype, shape = np.dtype(TYPES[code]), tuple(int(n) for n in np.frombuffer(content[4:head], ">i4"))
    size = head + prod(shape) * dtype.itemsize
    if len(content) != size:
        todo = "get it again"
        raise ValueError(message(str(path), f"{size} bytes for shape {shape}", f"{len(content)} bytes", todo))
    values = np.frombuffer(content[head:], dtype)
    return values.astype(dtype.newbyteorder("=")).reshape(shape)


def write_idx(path: Path, array: np.ndarray) -> None:
    """Write an array as an IDX file; gzipped where the path ends in .gz."""
    wanted = np.dtype(array.dtype).newbyteorder(">")
    code = next((code for code, name in TYPES.items() if np.dtype(name) == wanted), None)
    if code is None:
        known = ", ".join(np.dtype(name).name for name in TYPES.values())
        raise TypeError(message("write_idx.array", f"one of the types {known}", array.dtype))
    head = bytes([0, 0, code, array.ndim]) + np.array(array.shape, ">i4").tobytes()
    content = head + array.astype(wanted).tobytes()
    path.write_bytes(gzip.compress(content, 6, mtime=0) if path.suffix == ".gz" else content)


def read_bytes(path: Path) -> bytes:
    """Return what is in a file, unpacked where it is gzipped."""
    content = path.read_bytes()
    return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
