from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from preheat.deploy.commands import curl, invoke_web_request

URL = "https://abc.execute-api.us-east-1.amazonaws.com/default/iris"
BODY = '{"values": [[5.1, 3.5, 1.4, 0.2]]}'


def test_the_lines_are_the_assignments() -> None:
    assert curl(URL, BODY) == (
        'curl --header "Content-Type: application/json" --request POST '
        r'--data "{\"values\": [[5.1, 3.5, 1.4, 0.2]]}" ' + URL
    )
    assert invoke_web_request(URL, BODY).splitlines() == [
        f'Invoke-WebRequest -Method Post -Uri "{URL}" `',
        ' -Headers @{ "Content-Type" = "application/json" } `',
        """ -Body '{"values": [[5.1, 3.5, 1.4, 0.2]]}'""",
    ]


@settings(max_examples=30, deadline=None)
@given(st.text(st.characters(blacklist_categories=("Cs", "Cc"))))
def test_a_shell_hands_curl_exactly_the_body(body: str) -> None:
    script = curl(URL, body).replace("curl ", "printf '%s\\0' ", 1)
    output = subprocess.run(["sh", "-c", script], capture_output=True, check=True).stdout
    assert output.decode().split("\0")[5:7] == [body, URL]


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))  # bodies are JSON as json.dumps writes it: ASCII
def test_powershell_hands_over_exactly_the_body(body: str) -> None:
    text = invoke_web_request(URL, body).split("`\n", 2)[2].removeprefix(" -Body '").removesuffix("'")
    assert "'" not in text.replace("''", "")
    assert text.replace("''", "'") == body
