"""Hypothesis strategies from a CRD's schema: valid values, and values beyond it."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from detection_operator.api.crd import INT_OR_STRING
from tests.support.operator.hostile import ODD_TIMES, VALUES

Schema = dict[str, Any]
ODDS = 80
"""One value in this many is invalid."""


def values_of(schema: Schema) -> st.SearchStrategy[Any]:
    """Return values that a schema takes, now and then with one in them that it need not take."""
    return st.integers(1, ODDS).flatmap(lambda n: VALUES if n == 1 else _fitting(schema))


def _fitting(schema: Schema) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kind = "quantity" if INT_OR_STRING in schema else schema["type"]
    return _BY_KIND[kind](schema)


def _list(schema: Schema) -> st.SearchStrategy[Any]:
    least = schema.get("minItems", 0)
    return st.lists(values_of(schema["items"]), min_size=least, max_size=max(least, 3))


def _object(schema: Schema) -> st.SearchStrategy[Any]:
    if "additionalProperties" in schema:
        values = values_of(schema["additionalProperties"])
        return st.dictionaries(st.text("abc./-1", max_size=8), values, max_size=3)
    properties = {name: values_of(inner) for name, inner in schema["properties"].items()}
    required = set(schema.get("required", ()))
    return st.fixed_dictionaries(
        {name: values for name, values in properties.items() if name in required},
        optional={name: values for name, values in properties.items() if name not in required},
    )


def _text(schema: Schema) -> st.SearchStrategy[str]:
    if schema.get("format") == "date-time":
        return st.sampled_from([*ODD_TIMES, "2026-11-24T10:00:00Z"])
    if "pattern" in schema:
        cut = schema["maxLength"]
        return st.from_regex(schema["pattern"], fullmatch=True).map(lambda text: str(text)[:cut])
    longest = min(schema.get("maxLength", 12), 12)
    return st.text(min_size=schema.get("minLength", 0), max_size=longest)


def _number(schema: Schema) -> st.SearchStrategy[float]:
    low, high = schema.get("minimum", -(2**40)), schema.get("maximum", 2**40)
    return st.sampled_from([low, high]) | st.integers(int(low), int(high)).map(float)


_BY_KIND: dict[str, Callable[[Schema], st.SearchStrategy[Any]]] = {
    "quantity": lambda _: st.integers(0, 100) | st.sampled_from(["1Gi", "500m", "", "x"]),
    "object": _object,
    "array": _list,
    "string": _text,
    "integer": lambda schema: _number(schema).map(int),
    "number": _number,
    "boolean": lambda _: st.booleans(),
}
