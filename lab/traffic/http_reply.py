"""The least of HTTP/1.1 that tells a good reply from a bad one. Bytes in, a judgement out; no I/O.

RFC 9112: a status line, header fields, and a body of Content-Length bytes. Nothing else is accepted, because a load
generator that guesses where a reply ends would call a cut one complete.
"""

from dataclasses import dataclass

from lab.traffic.facts import Reason

MAX_HEAD = 16 * 1024


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete reply. `fields` has lower-case names; `body` is exactly Content-Length bytes."""

    status: int
    fields: dict[str, str]
    body: bytes


def read_reply(data: bytes) -> Reply | Reason | None:
    """Judge the bytes received so far: a whole reply with status 200, the reason why it fails, or None for "more"."""
    head, separator, body = data.partition(b"\r\n\r\n")
    if not separator:
        return Reason.WRONG_ANSWER if len(data) > MAX_HEAD else None
    parsed = _read_head(head)
    if parsed is None:
        return Reason.WRONG_ANSWER
    status, fields = parsed
    if status != 200:
        return Reason.BAD_STATUS
    length = fields.get("content-length", "")
    if not (length.isascii() and length.isdigit()) or "transfer-encoding" in fields:
        return Reason.WRONG_ANSWER
    if len(body) > int(length):
        return Reason.WRONG_ANSWER
    return Reply(status, fields, body) if len(body) == int(length) else None


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
