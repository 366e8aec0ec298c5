"""A real etcd and kube-apiserver for tests: on loopback, on free ports, with data that is thrown away."""

from __future__ import annotations

import json
import os
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

TOKEN = "an-administrator-of-a-throw-away-cluster"
START_SECONDS = 60.0
STOP_SECONDS = 20.0


class Answer(NamedTuple):
    """What the server said: the HTTP code, and the object or Status."""

    code: int
    body: dict[str, Any]

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


class ControlPlane:
    """An API server and its etcd, from `start` to `stop`; both processes are ours and end by their ids.

    Args:
        assets: The directory that holds ``kube-apiserver`` and ``etcd``.
        folder: An empty directory for data, certificates and logs.
    """

    def __init__(self, assets: Path, folder: Path) -> None:
        self._assets = assets
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._port = 0
        self.kubeconfig = folder / "kubeconfig"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    def start(self) -> None:
        etcd_port, peer_port, self._port = free_ports(3)
        etcd = f"http://127.0.0.1:{etcd_port}"
        self._run("etcd", _etcd_flags(self._folder / "etcd", etcd, f"http://127.0.0.1:{peer_port}"))
        certificates = self._folder / "certificates"
        tokens = self._folder / "tokens.csv"
        tokens.write_text(f"{TOKEN},tester,tester,system:masters\n")
        api_server = self._run("kube-apiserver", _api_server_flags(etcd, certificates, tokens, self._port))
        self._wait_until_ready(api_server)
        self._write_kubeconfig()

    def stop(self) -> None:
        """End both, the API server first; one that does not listen to SIGTERM is killed."""
        for process in reversed(self._processes):
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self._processes.clear()

    def request(self, method: str, path: str, body: Any = None, **query: str) -> Answer:
        """One call of the Kubernetes API, with an administrator's rights."""
        parameters = "&".join(f"{name}={value}" for name, value in sorted(query.items()))
        request = urllib.request.Request(
            f"{self.url}{path}" + (f"?{parameters}" if parameters else ""),
            data=None if body is None else json.dumps(body).encode(),
            headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
            method=method,
        )
        try:
            with urllib.request.urlopen(request, context=self._trust(), timeout=30) as response:
                return Answer(response.status, _decoded(response.read()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, _decoded(error.read()))

    def kubectl(self, *arguments: str, stdin: str = "") -> str:
        """What kubectl prints on standard output.

        Raises:
            AssertionError: It exits with something else than 0; holds what it said.
        """
        command = ["kubectl", f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self._folder}/cache"]
        done = subprocess.run(
            [*command, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=90,
            env={**os.environ, "HOME": str(self._folder)},
            check=False,
        )
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def _run(self, program: str, flags: Sequence[str]) -> subprocess.Popen[bytes]:
        with (self._folder / f"{program}.log").open("wb") as log:
            process = subprocess.Popen([self._assets / program, *flags], stdout=log, stderr=log)
        self._processes.append(process)
        return process

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Ask ten times a second; a server that ended will not become ready any more."""
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                if time.monotonic() < deadline:
                    continue
            tail = (self._folder / "kube-apiserver.log").read_text(errors="replace")[-2000:]
            raise RuntimeError(f"kube-apiserver did not become ready:\n{tail}")

    def _is_ready(self) -> bool:
        try:
            return self.request("GET", "/readyz").code == 200
        except (OSError, ssl.SSLError):
            return False

    def _trust(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self._folder / "certificates" / "apiserver.crt"))

    def _write_kubeconfig(self) -> None:
        certificate = str(self._folder / "certificates" / "apiserver.crt")
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "test", "cluster": {"server": self.url, "certificate-authority": certificate}}
            ],
            "users": [{"name": "tester", "user": {"token": TOKEN}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "tester"}}],
            "current-context": "test",
        }
        self.kubeconfig.write_text(json.dumps(config))


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [held.getsockname()[1] for held in sockets]
    for held in sockets:
        held.close()
    return ports


def _decoded(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {"message": raw.decode(errors="replace")}
    return found if isinstance(found, dict) else {"message": str(found)}


def _etcd_flags(folder: Path, client: str, peer: str) -> list[str]:
    return [
        f"--data-dir={folder}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        "--unsafe-no-fsync",
    ]


def _api_server_flags(etcd: str, certificates: Path, tokens: Path, port: int) -> list[str]:
    # The server makes a key and a certificate of its own before it reads the keys of service accounts,
    # so one key serves both and no other tool has to make one.
    key = certificates / "apiserver.key"
    return [
        f"--etcd-servers={etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={certificates}",
        f"--token-auth-file={tokens}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={key}",
        f"--service-account-key-file={key}",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--disable-admission-plugins=ServiceAccount",
    ]
