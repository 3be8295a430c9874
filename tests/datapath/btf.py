"""Reads the types of a compiled object: ELF section .BTF, enough of it to compare layouts (the kernel's btf.rst)."""

import struct
from dataclasses import dataclass
from pathlib import Path

INT, PTR, ARRAY, STRUCT, UNION, ENUM, TYPEDEF, VOLATILE, CONST, RESTRICT = 1, 2, 3, 4, 5, 6, 8, 9, 10, 11
FUNC_PROTO, VAR, DATASEC, DECL_TAG, ENUM64 = 13, 14, 15, 17, 19
_THROUGH = frozenset({TYPEDEF, VOLATILE, CONST, RESTRICT})
_TRAILERS = {INT: (4, False), ARRAY: (12, False), VAR: (4, False), DECL_TAG: (4, False), STRUCT: (12, True)}
_TRAILERS |= {UNION: (12, True), ENUM: (8, True), FUNC_PROTO: (8, True), DATASEC: (12, True), ENUM64: (12, True)}


@dataclass(frozen=True)
class Type:
    """One BTF type: its kind, name, `size` or referred type, and the raw trailer."""

    kind: int
    name: str
    value: int
    trailer: bytes


@dataclass(frozen=True)
class Field:
    """A member of a struct: where it is and how many bytes it takes."""

    name: str
    offset: int
    size: int


class Btf:
    """The types of one object file."""

    def __init__(self, path: Path) -> None:
        raw = _section(path.read_bytes(), b".BTF")
        _, _, _, header, type_at, type_length, self._names_at, _ = struct.unpack_from("<HBBIIIII", raw)
        self._raw, self._names = raw, header + self._names_at
        self.types = [Type(0, "void", 0, b"")]
        at, end = header + type_at, header + type_at + type_length
        while at < end:
            name, info, value = struct.unpack_from("<III", raw, at)
            kind, count = info >> 24 & 31, info & 0xFFFF
            size, each = _TRAILERS.get(kind, (0, False))
            length = size * count if each else size
            self.types.append(Type(kind, self.text(name), value, raw[at + 12 : at + 12 + length]))
            at += 12 + length

    def text(self, at: int) -> str:
        """A name in the string section."""
        start = self._names + at
        return self._raw[start : self._raw.index(b"\0", start)].decode()

    def find(self, kind: int, name: str) -> Type:
        """The one type of this kind and name."""
        found = [t for t in self.types if (t.kind, t.name) == (kind, name)]
        assert len(found) == 1, f"{len(found)} types named {name}"
        return found[0]

    def enum(self, name: str) -> dict[str, int]:
        """The enumerators of an enum."""
        pairs = struct.iter_unpack("<II", self.find(ENUM, name).trailer)
        return {self.text(label): value for label, value in pairs}

    def struct_size(self, name: str) -> int:
        """Bytes of a struct."""
        return self.find(STRUCT, name).value

    def fields(self, name: str) -> list[Field]:
        """The members of a struct in order."""
        members = struct.iter_unpack("<III", self.find(STRUCT, name).trailer)
        return [Field(self.text(label), bits // 8, self.size(number)) for label, number, bits in members]

    def size(self, number: int) -> int:
        """Bytes of a type."""
        found = self.types[number]
        if found.kind in _THROUGH:
            return self.size(found.value)
        if found.kind == ARRAY:
            element, count = int.from_bytes(found.trailer[:4], "little"), int.from_bytes(found.trailer[8:], "little")
            return self.size(element) * count
        return 8 if found.kind == PTR else found.value


def _section(elf: bytes, wanted: bytes) -> bytes:
    at, entry, count, names = (
        struct.unpack_from("<Q", elf, 0x28)[0],
        *struct.unpack_from("<HHH", elf, 0x3A),
    )
    headers = [struct.unpack_from("<IIQQQQ", elf, at + n * entry) for n in range(count)]
    for header in headers:
        start = headers[names][4] + header[0]
        if elf[start : elf.index(b"\0", start)] == wanted:
            return elf[header[4] : header[4] + header[5]]
    raise AssertionError(f"no section {wanted.decode()}")
