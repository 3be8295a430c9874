"""What keeps a host from serving a VIP."""


class HostError(Exception):
    """The host cannot serve a VIP as it is; the text says what to change."""
