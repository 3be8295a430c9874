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
        if state != self._last and self._send(state):
            self._last = state

    def beat(self) -> None:
        """The work loop turns."""
        self._send("WATCHDOG=1")

    def _send(self, message: str) -> bool:
        if not self._address:
            return True
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as channel:
                channel.sendto(message.encode(), address)
        except OSError:
            return False
        return True
