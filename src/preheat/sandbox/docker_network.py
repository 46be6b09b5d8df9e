"""Where a container of Docker's finds its Runtime API, and what else it can reach from there."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from weakref import WeakValueDictionary

from preheat.sandbox.docker_api import DockerApi, DockerError
from preheat.sandbox.network import Place

_DESKTOP_NAME = "host.docker.internal"
"""How containers of Docker Desktop call the machine outside its virtual one (docs.docker.com/desktop, "Networking")."""


class DockerNetwork:
    """One network for all environments of a server, made when first wanted.

    Where the engine runs on this very machine it is an internal bridge: a container has no way out of it, and reaches
    what listens at the bridge's own address (or at all addresses) of this machine. Runtime APIs listen there, each
    taking requests of its own container only; containers cannot take another's address, for that takes a capability.
    Where the engine runs in a virtual machine (Docker Desktop), that address is not ours: containers then get an
    ordinary bridge, from which they reach the internet too, and everything that listens on this machine's loopback.
    """

    def __init__(self, api: DockerApi, name: str, labels: dict[str, str]) -> None:
        self._api = api
        self.name = name
        self._labels = labels
        self._lock = threading.Lock()
        self._gateway: str | None = None
        self._places: WeakValueDictionary[str, Place] = WeakValueDictionary()

    @property
    def on_this_machine(self) -> bool:
        """Whether the engine shares this machine's kernel."""
        return self._made() != ""

    def place(self) -> Place:
        """A listener for one runtime. Raises OSError."""
        gateway = self._made()
        listener = socket.create_server((gateway or "127.0.0.1", 0))
        listener.setblocking(False)
        address = f"{gateway or _DESKTOP_NAME}:{listener.getsockname()[1]}"
        place = Place(listener, address, guests=set() if gateway else None)
        self._places[address] = place
        return place

    def admit(self, address: str, guest: str) -> None:
        """Let the container at address `guest` talk to a Runtime API; no harm where that has gone."""
        place = self._places.get(address)
        if place is not None and place.guests is not None:
            place.guests.add(guest)

    def addresses(self) -> list[str]:
        """Of the Runtime APIs that listen now."""
        return list(self._places)

    def remove(self) -> None:
        """Those of an earlier server too. Containers must have gone."""
        with suppress(DockerError, OSError):
            for network in self._listed():
                self._api.call("DELETE", f"/networks/{network['Id']}")
        self._gateway = None

    def _listed(self) -> list[dict[str, str]]:
        filters = {"label": [f"{key}={value}" for key, value in self._labels.items()]}
        return self._api.call("GET", "/networks", filters=json.dumps(filters)) or []

    def _made(self) -> str:
        """The bridge's address; "" where it is not one of this machine's."""
        with self._lock:
            if self._gateway is None:
                try:
                    self._gateway = self._make()
                except DockerError as error:
                    raise OSError(f"Docker cannot make a network: {error}") from None
            return self._gateway

    def _make(self) -> str:
        gateway = self._create(internal=True)
        with suppress(OSError), socket.create_server((gateway, 0)):
            return gateway
        self._api.call("DELETE", f"/networks/{self.name}")
        self._create(internal=False)
        return ""

    def _create(self, *, internal: bool) -> str:
        options = {"com.docker.network.bridge.enable_icc": "false"}
        wanted = {"Name": self.name, "Internal": internal, "Labels": self._labels, "Options": options}
        self._api.call("POST", "/networks/create", wanted)
        made = self._api.call("GET", f"/networks/{self.name}")
        return str(made["IPAM"]["Config"][0]["Gateway"]).partition("/")[0]
