"""Places for `dvc push`, each served by this machine: a folder, an SSH server, an S3-compatible server."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Remote:
    """What a user states about a remote: its URL, what `dvc remote modify` adds, and credentials."""

    url: str
    options: dict[str, str] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)

    def commands(self) -> list[list[str]]:
        """The commands that make it the project's default remote; what is private goes to .dvc/config.local."""
        modify = [["dvc", "remote", "modify", "--local", "store", *option] for option in self.options.items()]
        return [["dvc", "remote", "add", "--force", "--default", "store", self.url], *modify]


@contextmanager
def folder(place: Path) -> Iterator[Remote]:
    """A folder, such as one on a file system that several machines share."""
    yield Remote(str(place / "store"))


@contextmanager
def ssh(place: Path) -> Iterator[Remote]:
    """An SSH server with SFTP, which lets in the owner of one key."""
    import asyncssh

    key = asyncssh.generate_private_key("ssh-ed25519")
    place.mkdir(parents=True, exist_ok=True)
    keyfile = place / "key"
    key.write_private_key(str(keyfile))
    keyfile.chmod(0o600)
    key.write_public_key(str(place / "key.pub"))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_host_keys=[asyncssh.generate_private_key("ssh-ed25519")],
            authorized_client_keys=str(place / "key.pub"),
            sftp_factory=True,
        )

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(30)
    options = {"user": "someone", "keyfile": str(keyfile)}
    try:
        yield Remote(f"ssh://127.0.0.1:{server.get_port()}{place.resolve()}/store", options)
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


@contextmanager
def s3(place: Path) -> Iterator[Remote]:
    """An S3-compatible server with an empty bucket, as a MinIO would be."""
    import boto3
    from moto.server import ThreadedMotoServer

    credentials = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else a line a request
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        endpoint = "http://{}:{}".format(*server.get_host_and_port())
        boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=credentials["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=credentials["AWS_SECRET_ACCESS_KEY"],
            region_name=credentials["AWS_DEFAULT_REGION"],
        ).create_bucket(Bucket="results")
        yield Remote("s3://results/graded-itm", {"endpointurl": endpoint}, credentials)
    finally:
        server.stop()


KINDS: dict[str, Callable[[Path], AbstractContextManager[Remote]]] = {"folder": folder, "ssh": ssh, "s3": s3}
