"""npz archives as streams. Arrays larger than memory are read and written some rows at a time. Nothing is unpickled."""

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

LARGEST_RATIO = 900  # unpacked to packed: rows that rarely change come to hundreds, nothing but zeros to 1,030
DAMAGE = (zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError, RuntimeError)  # as zipfile says it


class Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype


Take = Callable[[int], np.ndarray]  # the next so many rows of an array


@contextmanager
def readable(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive, open; ValueError that names the file for whatever is wrong with it. OSError where there is none."""
    with open(path, "rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                yield archive
        except DAMAGE as error:
            raise ValueError(f"{path}: expected a readable npz file, found {error}") from error


def read_headers(path: Path, archive: zipfile.ZipFile, keys: Iterable[str]) -> dict[str, Header]:
    """Shape and dtype of some arrays. ValueError for what is none, is cut short or holds Python objects."""
    headers = {}
    for key in keys:
        info = archive.getinfo(f"{key}.npy")
        with archive.open(info) as stream:
            try:
                shape, by_columns, dtype = _read_header(stream)
            except ValueError as error:
                raise ValueError(f"{path}: {key}: expected an array, found {error}") from error
            expected = stream.tell() + dtype.itemsize * int(np.prod(shape, dtype=object))
        if dtype.hasobject:
            raise ValueError(f"{path}: {key} holds Python objects, expected numbers; they are never unpickled")
        if by_columns and len(shape) > 1:
            raise ValueError(f"{path}: {key} is stored by columns, expected by rows")
        if info.file_size != expected:
            raise ValueError(f"{path}: {key} has {info.file_size} bytes, expected {expected}")
        headers[key] = Header(shape, dtype)
    return headers


def check_ratio(path: Path, archive: zipfile.ZipFile, keys: Iterable[str]) -> None:
    """ValueError for a table that unpacks to far more than it takes in the file, as a bomb does."""
    for key in keys:
        info = archive.getinfo(f"{key}.npy")
        if info.file_size > LARGEST_RATIO * info.compress_size + 2**20:
            ratio = info.file_size // max(1, info.compress_size)
            raise ValueError(f"{path}: {key} unpacks to {ratio} times its size, expected numbers that differ")


@contextmanager
def streams(path: Path, keys: Iterable[str]) -> Iterator[dict[str, Take]]:
    """For each array a function that reads on in it."""
    with readable(path) as archive, ExitStack() as stack:
        yield {key: _reader(stack.enter_context(archive.open(f"{key}.npy"))) for key in keys}


def _reader(stream: IO[bytes]) -> Take:
    shape, _, dtype = _read_header(stream)

    def take(rows: int) -> np.ndarray:
        values = np.empty((rows, *shape[1:]), dtype)
        unread = memoryview(values.reshape(-1).view(np.uint8).data)
        while len(unread):
            count = stream.readinto(unread)  # type: ignore[attr-defined]
            if not count:
                raise EOFError("the end of an array before its last row")
            unread = unread[count:]
        return values

    return take


def _read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(stream)
    raise ValueError(f"version {version} of the npy format")


def write(path: Path, columns: Mapping[str, tuple[Header, Iterable[np.ndarray]]], comment: bytes = b"") -> None:
    """Write each array from its parts, one after another, uncompressed: numbers of a simulation hardly get smaller."""
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        archive.comment = comment
        for key, (header, parts) in columns.items():
            with archive.open(f"{key}.npy", "w", force_zip64=True) as stream:
                descr = np.lib.format.dtype_to_descr(header.dtype)
                values = {"descr": descr, "fortran_order": False, "shape": header.shape}
                np.lib.format.write_array_header_2_0(stream, values)  # type: ignore[arg-type]
                for part in parts:
                    stream.write(np.ascontiguousarray(part, header.dtype).data)
