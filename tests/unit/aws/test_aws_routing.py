import pytest
from hypothesis import given
from hypothesis import strategies as st

from preheat.aws.model import Operation, load_service
from preheat.aws.routing import Router


def operation(name: str, uri: str, method: str = "GET") -> Operation:
    return Operation("test", name, method, uri, 200, None, None, "")


ROUTER = Router(
    [
        operation("List", "/things"),
        operation("Get", "/things/{name}"),
        operation("Latest", "/things/latest"),
        operation("Parts", "/things/{name}/parts"),
        operation("All", "/things/{name}/parts?List=ALL"),
        operation("Flagged", "/things?flag"),
        operation("File", "/files/{path+}"),
        operation("FileMeta", "/files/{path+}/meta"),
        operation("Put", "/things/{name}", "PUT"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "query", "name", "labels"),
    [
        ("GET", "/things", "", "List", {}),
        ("GET", "/things/", "", "List", {}),
        ("GET", "/things", "flag", "Flagged", {}),
        ("GET", "/things", "flag=1&x=2", "Flagged", {}),
        ("GET", "/things/a%2Fb%20c", "", "Get", {"name": "a/b c"}),
        ("GET", "/things/latest", "", "Latest", {}),
        ("GET", "/things/latest/parts", "", "Parts", {"name": "latest"}),
        ("GET", "/things/x/parts", "List=ALL", "All", {"name": "x"}),
        ("GET", "/things/x/parts", "List=SOME", "Parts", {"name": "x"}),
        ("GET", "/files/a/b", "", "File", {"path": "a/b"}),
        ("GET", "/files/a/b/meta", "", "FileMeta", {"path": "a/b"}),
        ("PUT", "/things/x", "", "Put", {"name": "x"}),
        ("PUT", "/things/latest", "", "Put", {"name": "latest"}),
    ],
)
def test_match(method: str, path: str, query: str, name: str, labels: dict[str, str]) -> None:
    found = ROUTER.match(method, path, query)
    assert found is not None
    assert (found[0].name, found[1]) == (name, labels)


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/things"), ("GET", "/"), ("GET", "/things/a/b"), ("GET", "/files"), ("GET", "")]
)
def test_no_match(method: str, path: str) -> None:
    assert ROUTER.match(method, path, "") is None


@given(st.text(max_size=40), st.text(max_size=40))
def test_never_raises(path: str, query: str) -> None:
    found = ROUTER.match("GET", path, query)
    assert found is None or found[0].name


@pytest.mark.parametrize("service", ["lambda", "apigateway"])
def test_every_operation_of_the_model_finds_itself(service: str) -> None:
    operations = load_service(service).operations
    router = Router(list(operations.values()))
    for name, one in operations.items():
        path, _, query = one.uri.partition("?")
        found = router.match(one.method, path.replace("{", "%7B").replace("}", "%7D"), query)
        assert found is not None
        assert found[0].name == name
