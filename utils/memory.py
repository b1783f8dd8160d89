"""How the C library hands out memory."""

import contextlib
import ctypes

# Of mallopt(3), glibc.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Let freed buffers up to a GiB stay with the process: each training step needs the same ones again, and the system hands them
    out page by page, which takes up to a tenth of a step. Does nothing where the C library is not glibc."""
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_MMAP_THRESHOLD, 2**30)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
