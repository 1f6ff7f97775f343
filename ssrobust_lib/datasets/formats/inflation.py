"""Zlib and gzip streams, decompressed as they are read and no further.

In: an open file at the first byte of its compressed part. Out: a stream of the plain bytes. Checksums are compared by
zlib itself at the end of the data. `gzip.GzipFile` gives the same bytes and takes longer: it unpacks 8 KB at a time,
and zlib copies 32 KB whenever it is left.
"""

import io
import zlib
from typing import Any, BinaryIO

MAX_RATIO = 1032  # of deflate: 258 bytes from 2 bits
_PACKED_BYTES = 2**18  # at a time
_BUFFER_BYTES = 2**16


def inflated(file: BinaryIO, *, gzip: bool) -> io.BufferedReader:
    """Plain bytes of a gzip file, which may have several members, or of a zlib stream.

    What is read raises `EOFError` where the file ends too early, and `zlib.error` where it is damaged. Zeros behind a
    gzip file's last member are skipped; whatever follows a zlib stream is left alone.
    """
    return io.BufferedReader(_Inflated(file, zlib.MAX_WBITS + 16 if gzip else zlib.MAX_WBITS), _BUFFER_BYTES)


class _Inflated(io.RawIOBase):
    def __init__(self, file: BinaryIO, wbits: int) -> None:
        self._file, self._wbits = file, wbits
        self._inflate = zlib.decompressobj(wbits)
        self._packed = b""  # read, not yet decompressed

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        view = memoryview(buffer)
        while not self._inflate.eof or self._next_member():
            packed = self._packed or self._file.read(_PACKED_BYTES)
            if not packed:
                raise EOFError("the compressed voxels end too early")
            plain = self._inflate.decompress(packed, len(view))
            self._packed = self._inflate.unconsumed_tail
            if plain:
                view[: len(plain)] = plain
                return len(plain)
        return 0

    def _next_member(self) -> bool:
        """Whether a gzip file goes on behind the end of a member; the next one is then begun."""
        if self._wbits == zlib.MAX_WBITS:
            return False
        rest = self._inflate.unused_data
        while not (begun := rest.lstrip(b"\0")):
            rest = self._file.read(_PACKED_BYTES)
            if not rest:
                return False
        self._packed, self._inflate = begun, zlib.decompressobj(self._wbits)
        return True
