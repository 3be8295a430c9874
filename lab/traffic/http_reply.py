"""The least of HTTP/1.1 that tells a good reply from a bad one. Bytes in, a judgement out; no I/O.

RFC 9112: a status line, header fields, and a body of Content-Length bytes. Nothing else is accepted, because a load
generator that guesses where a reply ends would call a cut one complete.
"""

from dataclasses import dataclass

from lab.traffic.evidence import Reason

MAX_HEAD = 16 * 1024
_WITH_CONTENT = (200, 206)


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply. `fields` has lower-case names; `body` is exactly Content-Length bytes."""

    status: int
    fields: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a reply. `length`: octets of its content; `octets`: of the head itself with its empty line."""

    status: int
    fields: dict[str, str]
    length: int
    octets: int


def read_head(data: bytes) -> Head | Reason | None:
    """The head at the beginning of the bytes received so far, the reason why it is none, or None for "more"."""
    head, separator, _ = data.partition(b"\r\n\r\n")
    if not separator:
        return Reason.WRONG_ANSWER if len(data) > MAX_HEAD else None
    parsed = _read_head(head)
    if parsed is None:
        return Reason.WRONG_ANSWER
    status, fields = parsed
    length = fields.get("content-length", "")
    if not (length.isascii() and length.isdigit()) or "transfer-encoding" in fields:
        return Reason.WRONG_ANSWER if status in _WITH_CONTENT else Reason.BAD_STATUS
    return Head(status, fields, int(length), len(head) + len(separator))


def read_reply(data: bytes) -> Reply | Reason | None:
    """Judge the bytes received so far: a whole reply with status 200, the reason why it fails, or None for "more"."""
    head = read_head(data)
    if not isinstance(head, Head):
        return head
    if head.status != 200:
        return Reason.BAD_STATUS
    body = data[head.octets :]
    if len(body) > head.length:
        return Reason.WRONG_ANSWER
    return Reply(head.status, head.fields, body) if len(body) == head.length else None


def _read_head(head: bytes) -> tuple[int, dict[str, str]] | None:
    """Status and fields, None where the head is not HTTP/1.0 or 1.1."""
    first, *lines = head.decode("latin-1").split("\r\n")
    version, _, rest = first.partition(" ")
    code = rest[:3]
    if version not in ("HTTP/1.1", "HTTP/1.0") or not (code.isascii() and code.isdigit() and len(code) == 3):
        return None
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        key = name.lower()
        if not colon or not name or name != name.strip() or (key == "content-length" and key in fields):
            return None
        fields[key] = value.strip(" \t")
    return int(code), fields
