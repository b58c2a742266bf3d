"""What a version of a store consists of, as its manifest says: a protobuf in a file of Lance's."""

from collections.abc import Iterator

# The end of a manifest: where its message begins, two numbers of a format, and these letters.
_END, _FOOTER = b"LANC", 16

# The field of the message that holds the fragments, in the order in which they are read.
_FRAGMENTS = 2

# How the values of a field are written, and how many bytes those of fixed size take.
_VARINT, _BYTES, _FIXED = 0, 2, {1: 8, 5: 4}


def fragments(manifest: bytes) -> list[bytes] | None:
    """Gives the fragments of a version, each with its files and what is deleted of it.

    Returns:
      A message of each, to be compared with those of other versions; None if the manifest is of
      another format.
    """
    footer = manifest[-_FOOTER:]
    if len(footer) < _FOOTER or not footer.endswith(_END):
        return None
    start = int.from_bytes(footer[:8], "little")
    size = int.from_bytes(manifest[start : start + 4], "little")
    message = manifest[start + 4 : start + 4 + size]
    try:
        return [value for field, value in _fields(message) if field == _FRAGMENTS]
    except (IndexError, KeyError):
        return None


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Goes through the fields of a message: their numbers, and values of bytes.

    Raises:
      IndexError: it ends too early.
      KeyError: it has values of another kind.
    """
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        field, kind = key >> 3, key & 7
        if kind == _VARINT:
            _, place = _varint(message, place)
            continue
        size, place = _varint(message, place) if kind == _BYTES else (_FIXED[kind], place)
        if place + size > len(message):
            raise IndexError
        yield field, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    """Reads a number, and gives the place behind it.

    Raises:
      IndexError: it ends too early, or never.
    """
    number = 0
    for shift in range(0, 70, 7):
        byte = message[place]
        number |= (byte & 127) << shift
        place += 1
        if byte < 128:
            return number, place
    raise IndexError
