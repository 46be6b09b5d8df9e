"""The life of one execution environment, as one table of legal moves.

Every move that is not in the table is refused. The states are those of AWS's own description
(docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html): INIT, INVOKE, SHUTDOWN, plus the
reset that follows a crash or a time-out, after which init is repeated inside the next invoke.
"""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    NEW = "new"
    """Made, no process yet."""
    INIT = "init"
    """The runtime and the handler's module are being loaded."""
    READY = "ready"
    """Initialised and without a request."""
    INVOKE = "invoke"
    """Serving exactly one request."""
    RESET = "reset"
    """No process: init failed, or the last invoke crashed or timed out. /tmp is kept."""
    REINIT = "reinit"
    """Serving one request whose first part is a repeated init (AWS: suppressed init)."""
    STOPPED = "stopped"
    """Gone for good."""


class Move(StrEnum):
    START = "start"
    INIT_OK = "init_ok"
    INIT_FAILED = "init_failed"
    RESERVE = "reserve"
    FINISH = "finish"
    """The handler answered, with a result or with an error of its own."""
    FAIL = "fail"
    """The runtime exited or ran out of time while serving."""
    EXIT = "exit"
    """The runtime exited while nothing was asked of it."""
    STOP = "stop"


MOVES: dict[tuple[State, Move], State] = {
    (State.NEW, Move.START): State.INIT,
    (State.INIT, Move.INIT_OK): State.READY,
    (State.INIT, Move.INIT_FAILED): State.RESET,
    (State.READY, Move.RESERVE): State.INVOKE,
    (State.READY, Move.EXIT): State.RESET,
    (State.INVOKE, Move.FINISH): State.READY,
    (State.INVOKE, Move.FAIL): State.RESET,
    (State.RESET, Move.RESERVE): State.REINIT,
    (State.REINIT, Move.INIT_OK): State.INVOKE,
    (State.REINIT, Move.FAIL): State.RESET,
    (State.NEW, Move.STOP): State.STOPPED,
    (State.INIT, Move.STOP): State.STOPPED,
    (State.READY, Move.STOP): State.STOPPED,
    (State.INVOKE, Move.STOP): State.STOPPED,
    (State.RESET, Move.STOP): State.STOPPED,
    (State.REINIT, Move.STOP): State.STOPPED,
}


class IllegalMove(Exception):
    """A move that the table does not have: always a bug of ours, never of a user's."""


def move(state: State, move: Move) -> State:
    """The state after a move; raises IllegalMove for one that the table does not have."""
    try:
        return MOVES[state, move]
    except KeyError:
        raise IllegalMove(f"{move} in state {state}") from None
