"""A real etcd and kube-apiserver for tests: on loopback, on free ports, with data that is thrown away.

Either may be killed and started again: on the same port, with the same data and certificates.
"""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from kaito.clock import WallClock
from tests.e2e.servers import Server, free_ports

TOKEN = "an-administrator-of-a-throw-away-cluster"
START_SECONDS = 60.0
STEP_SECONDS = 0.05


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
        flags: Further flags of the API server, such as ``--min-request-timeout=5``.
    """

    def __init__(self, assets: Path, folder: Path, flags: Sequence[str] = ()) -> None:
        etcd_port, peer_port, self.port = free_ports(3)
        self._folder = folder
        self._data = folder / "etcd"
        self._backups = 0
        self.etcd_url = f"http://127.0.0.1:{etcd_port}"
        self.kubeconfig = folder / "kubeconfig"
        self.certificate = folder / "certificates" / "apiserver.crt"
        etcd_flags = _etcd_flags(self._data, self.etcd_url, f"http://127.0.0.1:{peer_port}")
        self.etcd = Server([assets / "etcd", *etcd_flags], folder / "etcd.log")
        own = _api_server_flags(self.etcd_url, folder / "certificates", self._tokens(), self.port)
        self.api_server = Server([assets / "kube-apiserver", *own, *flags], folder / "kube-apiserver.log")

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.start_etcd()
        self.start_api_server()
        self._write_kubeconfig()

    def stop(self) -> None:
        """End both, the API server first."""
        self.api_server.stop()
        self.etcd.stop()

    # --- what happens to it

    def start_etcd(self) -> None:
        self.etcd.start()
        _wait_until_ready(self.etcd, self._etcd_is_ready)

    def start_api_server(self) -> None:
        self.api_server.start()
        _wait_until_ready(self.api_server, self._is_ready)

    def restart_api_server(self) -> None:
        """Kill it and start it again."""
        self.api_server.kill()
        self.start_api_server()

    def restart_etcd(self) -> None:
        """Kill it and start it again under the API server, which goes on when it is back."""
        self.etcd.kill()
        self.start_etcd()
        _wait_until_ready(self.api_server, self._is_ready)

    def backup(self) -> Path:
        """A copy of etcd's data as of now, as a snapshot of its disk would be."""
        self._backups += 1
        copy = self._folder / f"backup-{self._backups}"
        self.etcd.freeze()
        try:
            shutil.copytree(self._data, copy)
        finally:
            self.etcd.thaw()
        return copy

    def restore(self, backup: Path) -> None:
        """Go back to a backup: what was written since never was, and resourceVersions go backwards."""
        self.api_server.kill()
        self.etcd.kill()
        shutil.rmtree(self._data)
        shutil.copytree(backup, self._data)
        self.start_etcd()
        self.start_api_server()

    def compact(self) -> None:
        """Let etcd forget all history, as the API server has it do every five minutes."""
        body = {"revision": self.revision(), "physical": True}
        request = urllib.request.Request(f"{self.etcd_url}/v3/kv/compaction", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200

    def revision(self) -> int:
        """The newest resourceVersion."""
        return int(self.request("GET", "/api/v1/namespaces").body["metadata"]["resourceVersion"])

    # --- asking it

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
            with urllib.request.urlopen(request, context=self.trust(), timeout=30) as response:
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

    def _tokens(self) -> Path:
        tokens = self._folder / "tokens.csv"
        tokens.write_text(f"{TOKEN},tester,tester,system:masters\n")
        return tokens

    def _etcd_is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.etcd_url}/health", timeout=5) as answer:
                return bool(json.loads(answer.read())["health"] == "true")
        except OSError:
            return False

    def _is_ready(self) -> bool:
        try:
            return self.request("GET", "/readyz").code == 200
        except (OSError, ssl.SSLError):
            return False

    def trust(self) -> ssl.SSLContext:
        """For a connection to the API server."""
        return ssl.create_default_context(cafile=str(self.certificate))

    def _write_kubeconfig(self) -> None:
        certificate = str(self.certificate)
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


def _wait_until_ready(server: Server, ready: Callable[[], bool]) -> None:
    """Ask twenty times a second; a server that ended will not become ready any more."""
    clock = WallClock()
    deadline = clock.monotonic() + START_SECONDS
    while not ready():
        if server.ends_within(STEP_SECONDS) or clock.monotonic() > deadline:
            raise RuntimeError(f"{server.command[0]} did not become ready:\n{server.tail()}")


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
        "--service-cluster-ip-range=10.0.0.0/16",
        "--disable-admission-plugins=ServiceAccount",
    ]
