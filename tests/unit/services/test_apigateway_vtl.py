"""Mapping templates: the variables, functions and printing that AWS's guide and the fidelity sheet name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from preheat.services.apigateway.variables import substitute
from preheat.services.apigateway.vtl import NotJson, TemplateFailed, render

BODY = json.dumps({"foo": "bar", "n": 1, "ok": True, "none": None, "list": [1, {"a": "b"}], "deep": {"x": {"y": "z"}}})
PARAMS = {"path": {"id": "p1", "same": "path"}, "querystring": {"q": "v", "same": "query"}, "header": {"X-A": "h"}}


def rendered(template: str, body: str = BODY, context: dict[str, Any] | None = None) -> str:
    return render(template, body, PARAMS, context or {}, {"model": "v2"})


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("$input.body", BODY),
        ("$input.json('$')", json.dumps(json.loads(BODY), separators=(",", ":"))),
        ("$input.json('$.foo')", '"bar"'),
        ("$input.json('$.list')", '[1,{"a":"b"}]'),
        ("$input.json('$.missing')", '""'),
        ("$input.path('$.foo')", "bar"),
        ("$input.path('$.deep')", "{x={y=z}}"),
        ("$input.path('$.list')", '[1,{"a":"b"}]'),
        ("$input.path('$').ok", "true"),
        ("#set($in = $input.path('$'))$in.deep.x.y", "z"),
        ("$input.params('id')", "p1"),
        ("$input.params('q')", "v"),
        ("$input.params('x-a')", "h"),
        ("$input.params('same')", "path"),
        ("$input.params('none')", ""),
        ("$input.params().querystring.get('q')", "v"),
        ("#foreach($k in $input.params().header.keySet())$k=$input.params().header.get($k)#end", "X-A=h"),
        ("#foreach($i in $input.path('$.list'))$foreach.index:$i#if($foreach.hasNext),#end#end", "0:1,1:{a=b}"),
        ("$input.path('$.list').size()", "2"),
        ("$stageVariables.model ${stageVariables.model}", "v2 v2"),
        ("$util.escapeJavaScript('it\"s \\ a')", 'it\\"s \\\\ a'),
        ("$util.urlEncode('a b&c')", "a+b%26c"),
        ("$util.urlDecode('a+b%26c')", "a b&c"),
        ("$util.base64Encode('abc')", "YWJj"),
        ("$util.base64Decode('YWJj')", "abc"),
        ('$util.parseJson(\'{"a":{"b":[1]}}\').a.b[0]', "1"),
        # idioms of templates in use
        ("#if($input.path('missing') != '')found#{else}missing#end", "missing"),
        ("#if($input.path('$').toString().contains('bar'))found#end", "found"),
        ("#set($all = $input.params())$all.get('path').get('id')", "p1"),
        ('$util.escapeJavaScript("it\'s").replaceAll("\\\\\'","\'")', "it's"),
        ("$input.path('$.foo').replaceAll('b(.)', '[$1]')", "[a]r"),
        ("#set($Integer = 0)$Integer.parseInt('404')", "404"),
        ("$util.parseJson($input.body).get('foo')", "bar"),
        ("#if($input.path('$').containsKey('foo'))yes#end", "yes"),
        ("#if($input.path('$.foo').equals('bar'))yes#end", "yes"),
        ("#foreach($e in $input.path('$.deep').entrySet())$e.key=$e.value $e.getKey()#end", "x={y=z} x"),
        (
            "$input.path('$.foo').toUpperCase() $input.path('$.foo').endsWith('r') $util.urlDecode('+a+').trim()",
            "BAR true a",
        ),
        ('#if("$!input.path(\'$\').none" != "")a#{else}b#end', "b"),
        ("#if($input.path('$.ok'))yes#{else}no#end", "yes"),
        (
            '{"values": $input.json(\'$.list\'), "stage": "$context.stage"}',
            '{"values": [1,{"a":"b"}], "stage": "prod"}',
        ),
    ],
)
def test_render(template: str, expected: str) -> None:
    assert rendered(template, context={"stage": "prod"}) == expected


def test_an_empty_body_is_an_empty_object() -> None:
    assert rendered("$input.body $input.json('$')", body="") == "{} {}"


@pytest.mark.parametrize("body", ["user=a&text=b", "[1, 2", "nope"])
def test_a_body_that_is_no_json_is_a_string(body: str) -> None:
    """AWS's Slack blueprint hands a form on with `{"body": $input.json("$")}`."""
    assert json.loads(rendered('{"body": $input.json("$")}', body)) == {"body": body}
    assert rendered("$input.path('$')|$input.path('$.a')|$input.body", body) == f"{body}||{body}"


def test_a_broken_object_is_told_from_a_broken_template() -> None:
    with pytest.raises(NotJson, match="not JSON"):
        rendered("$input.json('$.a')", ' {"a": ')


def test_overrides_are_written_to_the_context() -> None:
    context: dict[str, Any] = {"responseOverride": {"header": {}, "status": 0}}
    rendered('#set($context.responseOverride.status = 404)#set($context.responseOverride.header.X = "y")', "", context)
    assert context["responseOverride"] == {"header": {"X": "y"}, "status": 404}
    rendered("#set ($context.responseOverride.header.Content-Type = 'text/plain')", "", context)
    rendered("#set($name = 'Z')#set($context.responseOverride.header[$name] = '1')", "", context)
    assert context["responseOverride"]["header"] == {"X": "y", "Content-Type": "text/plain", "Z": "1"}


@pytest.mark.parametrize(
    ("template", "body"),
    [
        ("$input.json('$.a')", "{not JSON"),
        ("$input.path('$[')", "{}"),
        ("#foreach($x in", ""),
        ("$input.__class__", ""),
        ("${util.__init__}", ""),
        ("#evaluate('$input')", ""),
        ("$util.base64Decode('abc')", ""),
    ],
)
def test_failures(template: str, body: str) -> None:
    with pytest.raises(TemplateFailed):
        rendered(template, body)


@pytest.mark.parametrize(
    ("text", "missing", "expected"),
    [
        ("$context.a.b", None, "x"),
        ("${context.a.b}!", None, "x!"),
        ("$context.a", None, '{"b":"x"}'),
        ("$context.none $other.a $5", "-", "- $other.a $5"),
        ("$context.none", None, "$context.none"),
    ],
)
def test_substitute(text: str, missing: str | None, expected: str) -> None:
    assert substitute(text, {"context": {"a": {"b": "x"}}}, missing) == expected
