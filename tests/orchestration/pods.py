"""A stand-in for a Kubernetes API server: runs each job's container as a process of this machine.

Just the calls that Snakemake's executor makes. A pod starts in an empty folder, with the environment of a fresh
container, so that it finds the project only if its command goes there. It refuses what Kubernetes refuses of GPUs.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Pods:
    """The jobs so far: what was asked for, and the process that runs it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self.bodies: dict[str, dict[str, Any]] = {}
        self.processes: dict[str, subprocess.Popen[str]] = {}
        self.secrets: dict[str, str] = {}

    def create(self, body: dict[str, Any]) -> int:
        """Start a job; the HTTP status."""
        spec = body["spec"]["template"]["spec"]
        (container,) = spec["containers"]
        claims = {volume["name"] for volume in spec["volumes"]}
        asked, limits = container["resources"]["requests"], container["resources"].get("limits", {})
        if any(limits.get(name) != count for name, count in asked.items() if "/" in name):
            return 422  # an extended resource needs a limit, equal to what is requested
        if any(mount["name"] not in claims for mount in container["volumeMounts"]):
            return 422
        name = body["metadata"]["name"]
        self.bodies[name] = body
        secret = {
            variable["name"]: self.secrets[variable["valueFrom"]["secretKeyRef"]["key"]]
            for variable in container.get("env", [])
        }
        self.processes[name] = subprocess.Popen(
            [*container["command"], *container["args"]],
            cwd=tempfile.mkdtemp(prefix="workdir-"),
            env={**self.environment, **secret},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return 201

    def status(self, name: str) -> dict[str, int]:
        """What the API says of a job."""
        status = self.processes[name].poll()
        return {"active": 1} if status is None else {"failed": 1} if status else {"succeeded": 1}


@contextmanager
def serving(folder: Path, environment: dict[str, str]) -> Iterator[tuple[Pods, Path]]:
    """The stand-in, and the kubeconfig file that names it."""
    pods = Pods(environment)

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, body: dict[str, Any]) -> None:
            text = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def read(self) -> dict[str, Any]:
            return json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")

        def do_POST(self) -> None:
            body = self.read()
            if self.path.endswith("/secrets"):
                pods.secrets |= {key: base64.b64decode(value).decode() for key, value in body["data"].items()}
                return self.answer(201, body)
            status = pods.create(body)
            self.answer(status, body if status == 201 else {"message": "Invalid value: must be equal to requests"})

        def do_GET(self) -> None:
            if self.path.endswith("/status"):
                return self.answer(200, {"status": pods.status(self.path.split("/")[-2])})
            self.answer(200, {"items": []})

        def do_DELETE(self) -> None:
            self.read()
            self.answer(200, {})

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    config = folder / "kubeconfig.json"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "here",
                "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
                "users": [{"name": "nobody", "user": {}}],
                "contexts": [{"name": "here", "context": {"cluster": "here", "user": "nobody"}}],
            }
        )
    )
    try:
        yield pods, config
    finally:
        for process in pods.processes.values():
            process.kill()
        server.shutdown()
        thread.join(10)


def container_environment(project: Any) -> dict[str, str]:
    """What a container of a bare image has, and where this machine keeps what the image would hold."""
    kept = ("PATH", "DVC_SITE_CACHE_DIR")
    return {name: project.environment[name] for name in kept} | {"HOME": os.environ.get("HOME", "/")}
