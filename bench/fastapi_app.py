"""The FastAPI peer: the same handler behind the thinnest FastAPI route. Runs in bench/.venv under uvicorn, with the
deployed folder (handler, model and dependencies) on PYTHONPATH.

The handler runs on the event loop: it takes 0.1 ms, a thread for it would cost the peer more.
"""

from fastapi import FastAPI, Request, Response  # type: ignore[import-not-found, unused-ignore]
from lambda_function import lambda_handler  # type: ignore[import-not-found]

app = FastAPI()


async def serve(request: Request) -> Response:
    answer = lambda_handler({"body": (await request.body()).decode()}, None)
    return Response(answer["body"], answer["statusCode"], answer["headers"])


app.add_api_route("/default/iris", serve, methods=["POST"])
