"""Many others who write to one object without end, each through a connection and to fields of its own."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from threading import Event, Thread
from types import TracebackType

from kaito.kube import connect
from kaito.kube.client import KubeClient
from kaito.runtime.ports import ApiError, Object, Resource

PAUSE_SECONDS = 0.02
"""Between a writer's answer and its next request, so that the processors have time for anybody else."""


class Storm:
    """Enter it to let them write; leave it to let each write a last time.

    Attributes:
        written: The last number that each writer has written.
        troubles: What went wrong; nothing should, for nobody else writes to their fields.
    """

    def __init__(
        self, kubeconfig: Path, resource: Resource, name: str, namespace: str, writers: int = 20
    ) -> None:
        self.written = dict.fromkeys(range(writers), 0)
        self.troubles: list[str] = []
        self._kubeconfig = kubeconfig
        self._resource, self._name, self._namespace = resource, name, namespace
        self._over = Event()
        self._threads = [Thread(target=self._run, args=(n,), name=f"writer-{n}") for n in self.written]

    def __enter__(self) -> Storm:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    @property
    def writes(self) -> int:
        return sum(self.written.values())

    @property
    def is_blowing(self) -> bool:
        """Whether each of them has written."""
        return all(self.written.values())

    def is_whole(self, found: Object) -> bool:
        """Whether every writer's last number stands there, as annotation and as label."""
        metadata = found["metadata"]
        wanted = {_field(writer): str(number) for writer, number in self.written.items()}
        return all(wanted.items() <= metadata[kind].items() for kind in ("annotations", "labels"))

    def _run(self, writer: int) -> None:
        with closing(connect(self._kubeconfig, user_agent=f"writer-{writer}", workers=1)) as api:
            while not self._over.wait(PAUSE_SECONDS):
                self._write(api, writer)

    def _write(self, api: KubeClient, writer: int) -> None:
        number = self.written[writer] + 1
        fields = {_field(writer): str(number)}
        try:
            api.patch(
                self._resource,
                self._name,
                {"metadata": {"annotations": fields, "labels": fields}},
                self._namespace,
            )
        except ApiError as error:
            self.troubles.append(str(error))
        else:
            self.written[writer] = number


def _field(writer: int) -> str:
    return f"example.com/writer-{writer}"
