"""How numpy's arrays and scalars are carried. Imported only when one is met: numpy is optional."""

from __future__ import annotations

import functools
import math
import re
from typing import Any, Final

import numpy as np

from labc.wire.extensions import Buffer, Extension

_PLAIN_DTYPE: Final = re.compile(r"[<>|=][biufcmMSUV]\d{1,10}(\[[A-Za-z0-9/ ]{1,30}\])?")
_MAX_EMPTY_ITEMS: Final = 1 << 16
"""Items of a dtype without size take no bytes on the wire, so something else must bound their number."""


def _pack_array(array: np.ndarray[Any, Any]) -> list[Any]:
    """The dtype, the shape, the order in memory, and the memory itself if it is contiguous, else a copy."""
    if isinstance(array, np.ma.MaskedArray):
        raise TypeError("a masked array can't be carried: send its data and its mask")
    array = np.asarray(array)
    descr = _describe(array.dtype)
    fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    # ndarray.ravel would copy what is C-contiguous only up to axes of length 1; this does not.
    flat = np.ascontiguousarray(array.T if fortran else array).reshape(-1)
    if not flat.nbytes:
        if flat.size > _MAX_EMPTY_ITEMS:
            raise TypeError(f"an array of {flat.size} items without size can't be carried")
        return [descr, list(array.shape), fortran, b""]
    return [descr, list(array.shape), fortran, Buffer(flat.view(np.uint8).data)]


def _unpack_array(packed: Any) -> np.ndarray[Any, Any]:
    """A read-only array over the memory that arrived."""
    descr, shape, fortran, data = packed
    dtype = _dtype(descr)
    if not all(type(length) is int and length >= 0 for length in shape):
        raise ValueError(f"an array of shape {shape!r}")
    count = math.prod(shape)
    if dtype.itemsize * count != memoryview(data).nbytes or (not dtype.itemsize and count > _MAX_EMPTY_ITEMS):
        raise ValueError(f"an array of {count} items of {dtype} in {memoryview(data).nbytes} bytes")
    array: np.ndarray[Any, Any] = np.ndarray(shape, dtype, buffer=data, order="F" if fortran else "C")
    array.flags.writeable = False
    return array


def _pack_scalar(scalar: np.generic) -> list[Any]:
    # An empty text has no size and yet a few bytes.
    return [_describe(scalar.dtype), scalar.tobytes()[: scalar.dtype.itemsize]]


def _unpack_scalar(packed: Any) -> Any:
    descr, data = packed
    return _unpack_array([descr, [], False, data])[()]


@functools.lru_cache(maxsize=256)
def _describe(dtype: np.dtype[Any]) -> Any:
    """What the dtype can be made from again. Checked here, so that the error comes at the sender."""
    descr: Any = dtype.str
    if dtype.fields is not None:
        descr = np.lib.format.dtype_to_descr(dtype)
    elif dtype.names is not None:
        descr = []
    try:
        same = not dtype.hasobject and _dtype(descr) == dtype
    except (TypeError, ValueError):
        same = False
    if not same:
        raise TypeError(f"an array of dtype {dtype} can't be carried")
    return descr


def _dtype(descr: Any) -> np.dtype[Any]:
    """The dtype of a description from the network."""
    if isinstance(descr, str):
        if not _PLAIN_DTYPE.fullmatch(descr):
            raise ValueError(f"an array of dtype {descr!r}")
        return np.dtype(descr)
    dtype = np.lib.format.descr_to_dtype(descr)
    if dtype.hasobject:
        raise ValueError("an array of Python objects")
    return dtype


ARRAY: Final = Extension("numpy.ndarray", np.ndarray, _pack_array, _unpack_array, code=32)
SCALAR: Final = Extension("numpy.generic", np.generic, _pack_scalar, _unpack_scalar, code=33)
EXTENSIONS: Final = (ARRAY, SCALAR)
