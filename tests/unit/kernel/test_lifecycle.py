"""The whole grid: every state with every move, refusals included."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.kernel.lifecycle import MOVES, IllegalMove, Move, State, move

# Written out again on purpose: a change of the table has to be made twice, knowingly.
LEGAL = {
    "new": {"start": "init", "stop": "stopped"},
    "init": {"init_ok": "ready", "init_failed": "reset", "stop": "stopped"},
    "ready": {"reserve": "invoke", "exit": "reset", "stop": "stopped"},
    "invoke": {"finish": "ready", "fail": "reset", "stop": "stopped"},
    "reset": {"reserve": "reinit", "stop": "stopped"},
    "reinit": {"init_ok": "invoke", "fail": "reset", "stop": "stopped"},
    "stopped": {},
}


@pytest.mark.parametrize(("state", "what"), list(itertools.product(State, Move)))
def test_every_cell(state: State, what: Move) -> None:
    expected = LEGAL[state].get(what)
    if expected is None:
        with pytest.raises(IllegalMove, match=f"{what} in state {state}"):
            move(state, what)
    else:
        assert move(state, what) == expected


@given(st.lists(st.sampled_from(list(Move)), max_size=60))
def test_a_request_is_only_ever_in_one_place(moves: list[Move]) -> None:
    """Whatever is tried, reserves and ends of requests alternate: no environment serves two at once."""
    state, inside = State.NEW, 0
    for what in moves:
        if (state, what) not in MOVES:
            continue
        state = move(state, what)
        inside += {Move.RESERVE: 1, Move.FINISH: -1, Move.FAIL: -1}.get(what, 0)
        if state is not State.STOPPED:
            assert inside == (state in (State.INVOKE, State.REINIT))
