"""Messages of protocol buffers, read without their classes: numbered fields.

Format: https://protobuf.dev/programming-guides/encoding/. Fields that nobody asks for cost only
their length, and what a newer version adds does no harm.
"""

from __future__ import annotations

import struct
from contextlib import suppress

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_SIZES = {_FIXED64: 8, _FIXED32: 4}
_MORE = 0x80  # the bit of a byte of a number that says that another one follows
_FORMS = {form: struct.Struct(f"<{form}") for form in "df"}


class WireError(ValueError):
    """The bytes are no message."""


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise WireError("a number goes beyond the end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


class Message:
    """The fields of one message by their numbers; what is absent has its type's zero."""

    def __init__(self, data: bytes) -> None:
        """Read it.

        Raises:
            WireError: The bytes are no message.
        """
        self._fields: dict[int, list[int | bytes]] = {}
        fields = self._fields
        at, end = 0, len(data)
        value: int | bytes
        # Millions of these are read in an import. Nearly all tags and sizes are of one byte.
        while at < end:
            tag = data[at]
            at += 1
            if tag >= _MORE:
                tag, at = _varint(data, at - 1)
            kind = tag & 7
            if kind == _VARINT:
                value, at = _varint(data, at)
            else:
                if kind == _BYTES:
                    if at < end and data[at] < _MORE:
                        size = data[at]
                        at += 1
                    else:
                        size, at = _varint(data, at)
                elif kind in _SIZES:
                    size = _SIZES[kind]
                else:
                    raise WireError(f"a field of kind {kind}")
                if at + size > end:
                    raise WireError("a field goes beyond the end")
                value = data[at : at + size]
                at += size
            known = fields.get(tag >> 3)
            if known is None:
                fields[tag >> 3] = [value]
            else:
                known.append(value)

    def __contains__(self, number: int) -> bool:
        """Say whether a field is there."""
        return number in self._fields

    def whole(self, number: int) -> int:
        """Return a signed integer of 64 bits."""
        values = self._fields.get(number)
        if not values or not isinstance(values[-1], int):
            return 0
        value = values[-1] & 0xFFFFFFFFFFFFFFFF
        return value - (1 << 64) if value >> 63 else value

    def blobs(self, number: int) -> list[bytes]:
        """Return the bytes of each of a field's values."""
        return [value for value in self._fields.get(number, ()) if isinstance(value, bytes)]

    def blob(self, number: int) -> bytes:
        """Return the bytes of a field."""
        for value in reversed(self._fields.get(number, ())):
            if isinstance(value, bytes):
                return value
        return b""

    def texts(self, number: int) -> list[str]:
        """Return a field of several texts."""
        return [value.decode("utf-8", "replace") for value in self.blobs(number)]

    def text(self, number: int) -> str:
        """Return a text."""
        return self.blob(number).decode("utf-8", "replace")

    def messages(self, number: int) -> list[Message]:
        """Return a field of several messages."""
        return [Message(value) for value in self.blobs(number)]

    def message(self, number: int) -> Message:
        """Return a message, one without fields where there is none."""
        return Message(self.blob(number))

    def wholes(self, number: int) -> list[int]:
        """Return a field of several integers, packed or not, as they are: unsigned."""
        found = []
        for value in self._fields.get(number, ()):
            if isinstance(value, int):
                found.append(value)
                continue
            at = 0
            while at < len(value):
                one, at = _varint(value, at)
                found.append(one)
        return found

    def numbers(self, number: int, form: str) -> list[float]:
        """Return a field of several numbers, packed or not.

        Args:
            number: The field's.
            form: ``d`` for doubles, ``f`` for floats.
        """
        data = b"".join(self.blobs(number))
        size = struct.calcsize(f"<{form}")
        if len(data) % size:
            raise WireError("numbers that are cut off")
        return list(struct.unpack(f"<{len(data) // size}{form}", data))

    def number(self, number: int, form: str) -> float:
        """Return a number."""
        values = self._fields.get(number)
        if values is not None and len(values) == 1 and isinstance(values[0], bytes):
            with suppress(struct.error):  # the usual case, of one number
                one: float = _FORMS[form].unpack(values[0])[0]
                return one
        found = self.numbers(number, form)
        return found[-1] if found else 0.0
