"""Which entry of `spec.credentials` applies to a URI."""

from collections.abc import Iterable


def longest_prefix(uri: str, prefixes: Iterable[str]) -> str | None:
    """Return the longest of `prefixes` that matches whole path segments of `uri`, or None.

    A slash at the end of either makes no difference.

    >>> longest_prefix("s3://runs/trees", ["s3://", "s3://runs/", "s3://runs/tr"])
    's3://runs/'
    """
    whole = f"{uri.rstrip('/')}/"
    fitting = [prefix for prefix in prefixes if whole.startswith(f"{prefix.rstrip('/')}/")]
    return max(fitting, key=lambda prefix: len(prefix.rstrip("/")), default=None)
