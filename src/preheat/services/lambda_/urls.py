"""Function URLs: their configuration, and the look-up for the data plane."""

from __future__ import annotations

import asyncio
import functools
import random
import socket
import string
from dataclasses import replace
from typing import Any

from preheat.aws.context import OperationContext
from preheat.kernel.function import FunctionUrl, FunctionVersion
from preheat.services.lambda_.attachments import Url
from preheat.services.lambda_.failures import conflict, constraint, not_found
from preheat.services.lambda_.models import LATEST, last_modified_now
from preheat.services.lambda_.operations import Operations
from preheat.services.lambda_.pages import page

_ID = string.ascii_lowercase + string.digits
_PATTERN = r"((?!^\d+$)^[0-9a-zA-Z-_]+$)"
"""Shape FunctionUrlQualifier: an alias, never a version."""


class UrlOperations(Operations):
    """The part of the Lambda provider that is about function URLs; a `UrlDirectory`."""

    _url_index: dict[str, tuple[str, str]]
    """Where a URL was last found: (function's name, qualifier)."""

    def lookup_url(self, url_id: str) -> tuple[FunctionVersion, FunctionUrl] | None:
        where = self._url_index.get(url_id)
        url = self._registry.store.attached(where[0]).urls.get(where[1]) if where else None
        if where is None or url is None or url.url_id != url_id:
            self._url_index = self._all_urls()
            if url_id not in self._url_index:
                return None
            where = self._url_index[url_id]
            url = self._registry.store.attached(where[0]).urls[where[1]]
        name, qualifier = where
        shown = FunctionUrl(url_id, self._url_arn(name, qualifier), url.auth_type, url.invoke_mode, url.cors)
        return self._registry.resolve(name, None if qualifier == LATEST else qualifier), shown

    def _all_urls(self) -> dict[str, tuple[str, str]]:
        return {
            url.url_id: (function.name, qualifier)
            for function in self._registry.store
            for qualifier, url in self._registry.store.attached(function.name).urls.items()
        }

    async def create_function_url_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        await self._url_names()
        name, qualifier = self._url_owner(params)
        attached = self._registry.store.attached(name)
        if qualifier in attached.urls:
            raise conflict(
                f"Failed to create function url config for [functionArn = {self._url_arn(name, qualifier)}]. "
                "Error message:  FunctionUrlConfig exists for this Lambda function"
            )
        now = last_modified_now()
        url = Url(
            url_id="".join(random.choices(_ID, k=32)),
            auth_type=params["AuthType"],
            invoke_mode=params.get("InvokeMode") or "BUFFERED",
            created=now,
            modified=now,
            cors=params.get("Cors"),
            mode_given=bool(params.get("InvokeMode")),
        )
        self._registry.attach(name, replace(attached, urls={**attached.urls, qualifier: url}))
        shown = self._url_shown(context, name, qualifier, url)
        del shown["LastModifiedTime"]
        return _mode_if_given(url, shown)

    async def get_function_url_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        await self._url_names()
        name, qualifier, url = self._existing_url(params)
        return self._url_shown(context, name, qualifier, url)

    async def update_function_url_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        await self._url_names()
        self._url_owner(params)
        name, qualifier, url = self._existing_url(params)
        url = replace(
            url,
            auth_type=params.get("AuthType") or url.auth_type,
            invoke_mode=params.get("InvokeMode") or url.invoke_mode,
            mode_given=url.mode_given or bool(params.get("InvokeMode")),
            cors=url.cors if params.get("Cors") is None else params["Cors"],
            modified=last_modified_now(),
        )
        attached = self._registry.store.attached(name)
        self._registry.attach(name, replace(attached, urls={**attached.urls, qualifier: url}))
        return _mode_if_given(url, self._url_shown(context, name, qualifier, url))

    def delete_function_url_config(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        name, qualifier, _ = self._existing_url(params)
        attached = self._registry.store.attached(name)
        rest = {key: url for key, url in attached.urls.items() if key != qualifier}
        self._registry.attach(name, replace(attached, urls=rest))
        return {}

    async def list_function_url_configs(self, context: OperationContext, params: dict[str, Any]) -> dict[str, Any]:
        await self._url_names()
        name, _ = self._url_owner({"FunctionName": params["FunctionName"]})
        return page(
            "FunctionUrlConfigs",
            list(self._registry.store.attached(name).urls.items()),
            lambda item: item[0],
            params,
            lambda item: self._url_shown(context, name, *item),
        )

    def _url_owner(self, params: dict[str, Any]) -> tuple[str, str]:
        """(name, qualifier) of an existing function or alias, with the words these operations have (recorded)."""
        name, qualifier = self._url_named(params)
        aliases = self._registry.store.attached(name).aliases
        if self._registry.store.get(name) is None or (qualifier != LATEST and qualifier not in aliases):
            raise not_found("Function does not exist")
        return name, qualifier

    def _url_named(self, params: dict[str, Any]) -> tuple[str, str]:
        name, qualifier = self._registry.parse(params["FunctionName"], params.get("Qualifier"))
        if qualifier is not None and (qualifier == LATEST or qualifier.isdigit()):
            rule = f"Member must satisfy regular expression pattern: {_PATTERN}"
            raise constraint(qualifier, "qualifier", rule)
        return name, qualifier or LATEST

    def _existing_url(self, params: dict[str, Any]) -> tuple[str, str, Url]:
        name, qualifier = self._url_named(params)
        url = self._registry.store.attached(name).urls.get(qualifier)
        if url is None:
            raise not_found("The resource you requested does not exist.")
        return name, qualifier, url

    def _url_arn(self, name: str, qualifier: str) -> str:
        return self._registry.arn(name) + ("" if qualifier == LATEST else f":{qualifier}")

    async def _url_names(self) -> None:
        """Before `_url_shown`: the look-up may take a while, once."""
        await asyncio.to_thread(names_resolve)

    def _url_shown(self, context: OperationContext, name: str, qualifier: str, url: Url) -> dict[str, Any]:
        """The URL's domain is localhost instead of on.aws, or the form with a path where that leads nowhere."""
        host = self._own_host(context)
        port = host.rpartition(":")[2]
        domain = f"localhost:{port}" if port.isdigit() else "localhost"
        named = f"http://{url.url_id}.lambda-url.{context.region}.{domain}/"
        return {
            "FunctionUrl": named if names_resolve() else f"http://{host}/_aws/lambda-url/{url.url_id}/",
            "FunctionArn": self._url_arn(name, qualifier),
            "AuthType": url.auth_type,
            "Cors": url.cors,
            "CreationTime": url.created,
            "LastModifiedTime": url.modified,
            "InvokeMode": url.invoke_mode,
        }


def _mode_if_given(url: Url, shown: dict[str, Any]) -> dict[str, Any]:
    return shown if url.mode_given else {**shown, "InvokeMode": None}


@functools.cache
def names_resolve() -> bool:
    """Whether names below localhost mean this machine (RFC 6761), as with systemd-resolved, or nothing, as in many
    containers."""
    try:
        return bool(socket.getaddrinfo("preheat.localhost", None))
    except OSError:
        return False
