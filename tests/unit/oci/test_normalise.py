"""oci.normalise: null is absent, and nothing is copied for nothing."""

from pyrunc.oci.normalise import without_nulls


def test_members_that_are_null_go_at_every_depth():
    document = {"a": None, "b": {"c": None, "d": 1}, "e": [{"f": None}, 2]}
    assert without_nulls(document) == {"b": {"d": 1}, "e": [{}, 2]}


def test_the_document_itself_stays_as_it_was():
    document = {"a": {"b": None}}
    without_nulls(document)
    assert document == {"a": {"b": None}}


def test_entries_of_a_list_stay():
    assert without_nulls({"a": [None, 1]}) == {"a": [None, 1]}


def test_what_has_no_nulls_is_not_copied():
    document = {"a": {"b": [1, {"c": "x"}]}, "d": []}
    assert without_nulls(document) is document
    changed = {"kept": document, "gone": None}
    assert without_nulls(changed)["kept"] is document
