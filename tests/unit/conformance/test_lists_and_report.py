"""The conformance suite's lists hold together, and its reports tell what was found."""

import ast
import json
import xml.etree.ElementTree as ElementTree

import pytest

from conformance import report
from conformance.clauses import (
    HERE,
    SUITES,
    BadList,
    Clause,
    load_clauses,
    load_deviations,
    parse_clauses,
    parse_deviations,
    reason_for,
)
from conformance.image.source import is_registered
from conformance.subjects import NoSubject, identify
from conformance.verdicts import Result, Subject, Table, outcome_of


def files(suite):
    return sorted((HERE / suite).glob("test_*.py"))


def proven(suite):
    """The arguments of every requirement() in the suite."""
    calls = (node for file in files(suite) for node in ast.walk(ast.parse(file.read_text())))
    return {
        argument.value
        for node in calls
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "requirement"
        for argument in node.args
    }


@pytest.mark.parametrize("suite", SUITES)
def test_every_clause_has_a_test_or_a_reason_and_not_both(suite):
    clauses = load_clauses(suite)
    assert proven(suite) <= clauses.keys()
    untested = {name for name, clause in clauses.items() if clause.untested}
    assert untested == clauses.keys() - proven(suite)


@pytest.mark.parametrize("suite", SUITES)
def test_next_to_all_clauses_are_tested(suite):
    clauses = load_clauses(suite)
    share = {"runtime": 0.95, "image": 0.9, "distribution": 0.95}[suite]
    assert len(proven(suite)) >= share * len(clauses)


def test_every_deviation_is_of_a_test_that_exists():
    names = {
        f"{file.stem.removeprefix('test_')}::{node.name}"
        for suite in SUITES
        for file in files(suite)
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef)
    }
    deviations = load_deviations()
    assert {deviation.test.partition("[")[0] for deviation in deviations} <= names
    assert len({(d.runtime, d.test, d.before, d.on) for d in deviations}) == len(deviations)


def test_the_suite_imports_nothing_of_pyrunc():
    for file in HERE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            assert not any(name.split(".")[0] == "pyrunc" for name in names), file


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[a]\nX = { text = 'x' }", "no spec"),
        ("[a]\nspec = 's'\nX = { text = '' }", "X needs"),
        ("[a]\nspec = 's'\nX = { text = 'x', level = 'MAY' }", "X needs"),
        ("[a]\nspec = 's'\nX = { text = 'x', since = '0.9' }", "X needs"),
        ("[a]\nspec = 's'\nX = { text = 'x', test = 'y' }", "unknown keys: test"),
        ("[a]\nspec = 's'\nX = { text = 'x' }\n[b]\nspec = 's'\nX = { text = 'x' }", "X is listed twice"),
    ],
)
def test_a_list_that_is_wrong_is_refused(text, complaint):
    with pytest.raises(BadList, match=complaint):
        parse_clauses(text)


def test_a_deviation_may_be_of_one_kind_of_host():
    text = '[[deviation]]\nruntime = "r"\ntest = "t::x"\nreason = "why"\non = "cgroup v1"'
    deviations = parse_deviations(text)
    assert reason_for(deviations, "r", "1", "t::x", ["AppArmor off", "cgroup v1"]) == "why"
    assert reason_for(deviations, "r", "1", "t::x", ["cgroup v2"]) is None
    with pytest.raises(BadList, match="on is none of"):
        parse_deviations(text.replace("v1", "v3"))


def test_a_deviation_is_of_a_runtime_and_ends_with_a_version():
    text = '[[deviation]]\nruntime = "r"\ntest = "t::x"\nreason = "why"\nbefore = "1.2"'
    deviations = parse_deviations(text)
    assert reason_for(deviations, "r", "1.1.5+ds1", "t::x", ["cgroup v2"]) == "why"
    assert reason_for(deviations, "r", "1.2.0", "t::x", ["cgroup v2"]) is None
    assert reason_for(deviations, "s", "1.1.5", "t::x", ["cgroup v2"]) is None
    with pytest.raises(BadList, match="no reason"):
        parse_deviations(text.replace("why", " "))


def test_what_is_listed_must_fail_and_what_fails_must_be_listed():
    assert outcome_of(True, False, None) == "passed"
    assert outcome_of(False, False, None) == "failed"
    assert outcome_of(False, False, "known") == "deviation"
    assert outcome_of(True, False, "known") == "unexpected"
    assert outcome_of(True, True, "known") == "skipped"


RUNC = Subject("/bin/runc", "runc", "1.1")
CLAUSES = [
    Clause("Good", "root", "config.md", "MUST", "1.0.0", "is good", None),
    Clause("Bad", "root", "config.md", "MUST", "1.0.0", "is </script> bad", None),
    Clause("Bare", "root", "config.md", "SHOULD", "1.1.0", "is bare", "needs a thing"),
]


@pytest.fixture
def table():
    results = [
        Result(RUNC, "root::good", "good", ["Good"], "passed", 0.1),
        Result(
            RUNC,
            "root::bad",
            "bad",
            ["Good", "Bad"],
            "failed",
            0.1,
            message="1 \x1b != 2",
            commands=["$ run"],
        ),
    ]
    return Table(CLAUSES, [RUNC], results, 1.0, "runtime")


def test_a_clause_is_as_bad_as_the_worst_of_its_tests(table):
    assert [table.verdict(clause, RUNC) for clause in CLAUSES] == ["failed", "failed", "untested"]
    assert table.reason(CLAUSES[2], RUNC) == "needs a thing"


def test_every_format_tells_the_failure(table):
    for name, format in report.FORMATS.items():
        assert "root::bad" in format(table).replace('classname="root" name="bad"', "root::bad"), name
    assert "not ok 2 - runc 1.1 root::bad" in report.tap(table)
    assert ElementTree.fromstring(report.junit(table)).find("testsuite").get("failures") == "1"
    assert json.loads(report.as_json(table))["clauses"][2]["verdicts"] == ["untested"]


def test_the_page_holds_its_data_and_loads_nothing(table):
    page = report.html(table)
    assert page.count("</script>") == 2
    assert "src=" not in page
    assert "http" not in page
    data = page.partition('id="data">')[2].partition("</script>")[0]
    assert json.loads(data) == report.as_data(table)


@pytest.mark.parametrize(
    ("suite", "word", "place", "name"),
    [
        ("image", "mine=/", "/", "mine"),
        ("image", "https://registry.example/team/app:1.2", "https://registry.example/team/app:1.2", None),
        ("image", "x=http://h:5000/a@sha256:ab", "http://h:5000/a@sha256:ab", "x"),
        ("distribution", "http://127.0.0.1:5000/", "http://127.0.0.1:5000", "http://127.0.0.1:5000/"),
    ],
)
def test_a_subject_is_named_by_its_place_or_as_wanted(suite, word, place, name):
    assert identify(suite, word) == Subject(place, name or word, "")


@pytest.mark.parametrize(
    ("suite", "word"),
    [
        ("runtime", "no-such-runtime"),
        ("runtime", "true"),
        ("image", "/no/such/layout"),
        ("image", "http://127.0.0.1:5000/"),
        ("image", "http://127.0.0.1:5000/name"),
        ("distribution", "sh"),
        ("distribution", "ftp://127.0.0.1"),
    ],
)
def test_what_is_no_subject_is_refused(suite, word):
    with pytest.raises(NoSubject, match=r"^--"):
        identify(suite, word)


def test_digests_that_are_registered():
    assert is_registered("sha256:" + "a" * 64)
    for wrong in ("sha256:" + "A" * 64, "sha256:ab", "md5:" + "a" * 32, "../../etc/passwd", None):
        assert not is_registered(wrong)
