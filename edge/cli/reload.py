"""`fairhop reload`: the daemon reads its file again and says whether it took it."""

import click

from edge.cli.common import request, socket_option


@click.command()
@socket_option
def reload(socket_path: str) -> None:
    """Read the configuration file again. A file with errors changes nothing: they are printed, exit code 78."""
    answer = request(socket_path, "reload")
    click.echo(f"reloaded {answer['file']}: {answer['changes'] or 'no change'}")


@click.command()
@socket_option
def rollback(socket_path: str) -> None:
    """Follow the configuration that ran before the last reload; the file stays as it is. A second one undoes the first.

    Exit code 1 when no reload has changed anything since the daemon started.
    """
    answer = request(socket_path, "rollback")
    click.echo(f"rolled back, changed: {answer['changes'] or 'nothing'}; {answer['file']} is as it was, mend it")
