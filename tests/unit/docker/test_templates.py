"""docker.gotemplate: Go's text/template, as `--format` uses it. What Go prints is written down here."""

import pytest

from pyrunc.docker.gotemplate.evaluate import Template
from pyrunc.errors import PyruncError

VALUE = {
    "Name": "/web",
    "State": {"Running": True, "Pid": 42, "Error": ""},
    "Env": ["A=1", "B=2"],
    "Ports": {"80/tcp": [{"HostPort": "8080"}], "443/tcp": None},
    "Empty": [],
    "Labels": {"x.y": "z", "a": "b"},
    "Label": lambda name: {"x.y": "z"}.get(name, ""),
    "None": None,
    "Rate": 1.5,
}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("{{.Name}}", "/web"),
        ("{{.State.Running}} {{.State.Pid}}", "true 42"),
        ("{{json .Env}}", '["A=1","B=2"]'),
        ("{{json .State}}", '{"Running":true,"Pid":42,"Error":""}'),
        ("{{.Env}} {{.Labels}} {{.None}} {{.Rate}}", "[A=1 B=2] map[a:b x.y:z] <no value> 1.5"),
        ("{{range .Env}}<{{.}}>{{end}}", "<A=1><B=2>"),
        ("{{range .Empty}}x{{else}}none{{end}}", "none"),
        ("{{range $i, $e := .Env}}{{$i}}:{{$e}} {{end}}", "0:A=1 1:B=2 "),
        ("{{range $p, $c := .Ports}}{{$p}}{{if $c}} -> {{(index $c 0).HostPort}}{{end}};{{end}}",
         "443/tcp;80/tcp -> 8080;"),
        ("{{range .Env}}{{.}}{{break}}{{end}}", "A=1"),
        ("{{range $i, $e := .Env}}{{if eq $i 0}}{{continue}}{{end}}{{$e}}{{end}}", "B=2"),
        ("{{if .State.Error}}bad{{else if .State.Running}}up{{else}}down{{end}}", "up"),
        ("{{with .State}}{{.Pid}} {{$.Name}}{{end}}", "42 /web"),
        ("{{with .State.Error}}x{{else}}fine{{end}}", "fine"),
        ('{{index .Labels "x.y"}} {{index .Env 1}}', "z B=2"),
        ('{{.Label "x.y"}}|{{.Label "no"}}', "z|"),
        ('{{join .Env ", "}} {{.Name | upper | printf "%s!"}}', "A=1, B=2 /WEB!"),
        ('{{printf "%-6s|%5d|%q|%v" .Name 7 "a" .Env}}', '/web  |    7|"a"|[A=1 B=2]'),
        ('{{println "a" 1 2}}{{print 1 2 "b"}}', "a 1 2\n1 2b"),
        ("{{len .Env}} {{slice .Name 1}} {{truncate .Name 2}}", "2 web /w"),
        ("{{eq .State.Pid 41 42}} {{ne 1 2}} {{and 1 0}} {{or 0 `x`}} {{not true}} {{lt 1 2}}",
         "true true 0 x false true"),
        ('{{$x := "a"}}{{if true}}{{$x = "b"}}{{end}}{{$x}}', "b"),
        ("a  {{- .State.Pid -}}  b", "a42b"),
        ("{{/* said to nobody */}}x", "x"),
        ('{{"}}"}}', "}}"),
        ('{{split "a:b" ":"}} {{title "web"}} {{pad "x" 1 2}}|', "[a b] Web  x  |"),
        ("{{and .None .None.Deeper}}", "<no value>"),
        ('{{html "<a>&"}} {{urlquery "a b/c"}} {{js "a\\"b"}}', '&lt;a&gt;&amp; a+b%2Fc a\\"b'),
    ],
)  # fmt: skip
def test_a_template_shows_what_go_shows(text, shown):
    assert Template(text).apply(VALUE) == shown


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{.Name", "unclosed action"),
        ("{{if .Name}}x", "unexpected EOF"),
        ("{{end}}", "unexpected {{end}}"),
        ("{{.Name )}}", "unexpected ')'"),
        ('{{define "x"}}{{end}}', "define is not supported"),
        ("{{}}", "missing value"),
    ],
)
def test_a_template_that_is_none_is_refused(text, why):
    with pytest.raises(PyruncError, match="template parsing error") as caught:
        Template(text)
    assert why in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{.Nope}}", 'map has no entry for key "Nope"'),
        ("{{.Name.More}}", "can't evaluate field More"),
        ("{{nofunc 1}}", 'function "nofunc" not defined'),
        ("{{index .Env 9}}", "out of range"),
        ("{{range .Name}}{{end}}", "range can't iterate"),
        ("{{$nope}}", "undefined variable"),
        ("{{lt .Name 1}}", "not supported"),
    ],
)
def test_what_is_asked_for_in_vain_is_an_error(text, why):
    with pytest.raises(PyruncError) as caught:
        Template(text).apply(VALUE)
    assert why in str(caught.value)
