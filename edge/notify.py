"""Tells systemd how the daemon is (sd_notify's datagram protocol); silent where there is no systemd."""

import os
import socket


class Notifier:
    """Sends each new state once; `beat` feeds the watchdog and is called from the work loop itself."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")
        self._last = ""

    def say(self, state: str) -> None:
        """Send `READY=1`, `STOPPING=1` and the like, when it differs from the last."""
        if state != self._last:
            self._last = state
            self._send(state)

    def beat(self) -> None:
        """The work loop turns."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if not self._address:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel:
                channel.sendto(message.encode(), address)
        except OSError:
            pass  # A notification that is lost is sent again by the next beat.
