"""The way of a request that something guards or transforms, on one page. Plain Lambda proxies go by `gateway`."""

from __future__ import annotations

import logging

from preheat.kernel.http import HttpResponse
from preheat.services.apigateway import refusals, validation
from preheat.services.apigateway.access_log import AccessLog
from preheat.services.apigateway.admission import Admission
from preheat.services.apigateway.authorization import Authorization
from preheat.services.apigateway.backends import Backends
from preheat.services.apigateway.call import Call
from preheat.services.apigateway.compression import compress, decompress
from preheat.services.apigateway.refusals import Refusal, Refused, custom_response

logger = logging.getLogger(__name__)


class Pipeline:
    def __init__(
        self, authorization: Authorization, admission: Admission, backends: Backends, access_log: AccessLog
    ) -> None:
        self.authorization = authorization
        self._admission = admission
        self._backends = backends
        self._access_log = access_log

    async def answer(self, call: Call) -> HttpResponse:
        """Authorise, admit, validate, integrate; whatever is refused on the way is answered as the API wants it."""
        refusal: Refusal | None = None
        try:
            await self.authorization.check(call)
            self._admission.check(call)
            validation.check(call)
            decompress(call)
            response = await self._backends.answer(call)
            await compress(call, response)
            response.headers += call.own_headers
        except Refused as refused:
            refusal = refused.refusal
            call.note(f"Execution failed due to configuration error: {refused}")
            logger.info("request %s: %d %s", call.ids.request, refusal.status, refused)
            response = _refused(call, refusal)
        except Exception:
            refusal = refusals.INTERNAL_ERROR
            logger.exception("request %s", call.ids.request)
            response = _refused(call, refusal)
        self._access_log.write(call, response, refusal)
        return response


def _refused(call: Call, refusal: Refusal) -> HttpResponse:
    customs = call.stage.deployment.gateway_responses
    return custom_response(refusal, customs, call.own_headers, call.request, call.context(), call.stage.variables or {})
