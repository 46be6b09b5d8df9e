"""Ask a running Iris function for predictions and check them.

    python test.py          the container of `docker run -p 8080:8080 iris_image`
    python test.py URL      any other address, for example the one that `preheat deploy` prints

Exit status 0 if the predictions are right, 1 if not, 2 if nothing answers.
"""

import json
import sys
import urllib.error
import urllib.request

URL = "http://localhost:8080/2015-03-31/functions/function/invocations"
VALUES = [[5.1, 3.5, 1.4, 0.2], [5.9, 3.0, 4.2, 1.5], [6.7, 3.0, 5.2, 2.3]]
EXPECTED = [0, 1, 2]


def ask(url):
    request = urllib.request.Request(
        url,
        data=json.dumps({"values": VALUES}).encode(),
        headers={"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.load(response)
    except urllib.error.HTTPError as error:
        return error.read().decode(errors="replace")


def predictions(answer):
    """What the function predicted; the emulator hands out the whole proxy response, API Gateway only its body."""
    if isinstance(answer, dict) and "body" in answer:
        answer = json.loads(answer["body"])
    return answer.get("predictions") if isinstance(answer, dict) else None


def main():
    url = sys.argv[1] if len(sys.argv) > 1 else URL
    try:
        answer = ask(url)
    except (OSError, ValueError) as error:
        print(f"no answer from {url}: {error}", file=sys.stderr)
        return 2
    print(json.dumps(answer, indent=2))
    if predictions(answer) != EXPECTED:
        print(f"wrong: expected predictions {EXPECTED}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
