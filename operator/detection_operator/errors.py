"""Every error that the operator raises on purpose.

OperatorError
├── ConfigurationError          a setting, or what the cluster must offer, is missing
├── ClusterError                the Kubernetes API refused or did not answer
│   ├── ConflictError           another wrote in between (resourceVersion or uid precondition)
│   ├── AlreadyExistsError
│   ├── NotFoundError
│   ├── GoneError               a continue token or resourceVersion is too old
│   ├── UnauthorizedError       the operator's credentials are not accepted
│   ├── ForbiddenError          refused by RBAC, a quota or an admission plugin
│   ├── InvalidError            the object is invalid
│   ├── TooLargeError           the answer is longer than the limit
│   └── UnavailableError        no answer, or a request to retry later
├── UnreadableError             an object cannot be read; the others are served
├── ForeignObjectError          another owner has an object's name
├── OutdatedObjectError         an object was created from an older spec and cannot change
└── RefusedError                a report is not accepted; has the HTTP status
"""

from http import HTTPStatus


class OperatorError(Exception):
    """The root of this tree."""


class ConfigurationError(OperatorError):
    """The settings or the cluster do not allow the operator to run."""


class ClusterError(OperatorError):
    """The Kubernetes API refused or did not answer."""

    reason = "ClusterError"

    def __init__(self, request: str, status: int, message: str) -> None:
        """Describe the request and its result; `status` 0 means that there was no answer."""
        answer = f"answered {status}" if status else "did not answer"
        super().__init__(f"{request}: the API server {answer}: {message.strip()}")
        self.status = status
        self.message = message


class ConflictError(ClusterError):
    """A precondition failed: read again and decide again."""

    reason = "Conflict"


class AlreadyExistsError(ClusterError):
    """An object of this name exists."""

    reason = "AlreadyExists"


class NotFoundError(ClusterError):
    """There is no such object, or no such kind of object."""

    reason = "NotFound"


class GoneError(ClusterError):
    """The position at which a list was to continue has expired."""

    reason = "Gone"


class UnauthorizedError(ClusterError):
    """The API server did not accept the operator's credentials."""

    reason = "Unauthorized"


class ForbiddenError(ClusterError):
    """A permission is missing, a quota is exhausted, or an admission plugin refused."""

    reason = "Forbidden"


class InvalidError(ClusterError):
    """The API server refused the object or the request as invalid."""

    reason = "Invalid"


class UnavailableError(ClusterError):
    """No answer in time, or a request to retry later."""

    reason = "Unavailable"


class TooLargeError(ClusterError):
    """The answer has more bytes than are read."""

    reason = "TooLarge"


class UnreadableError(OperatorError):
    """An object has a value that this version cannot read."""

    reason = "Unreadable"


class ForeignObjectError(OperatorError):
    """An object with a name that the operator needs belongs to another owner."""

    reason = "ForeignObject"

    def __init__(self, kind: str, namespace: str, name: str, owner: str) -> None:
        """State whose object it is and what a person can do."""
        super().__init__(
            f"{kind} {namespace}/{name} exists and belongs to {owner or 'nobody'}, not to this "
            "training: delete or rename it; the operator retries"
        )


class OutdatedObjectError(OperatorError):
    """An object was created from an older spec, and its fields cannot be changed."""

    reason = "OutdatedObject"

    def __init__(self, kind: str, namespace: str, name: str, differences: str) -> None:
        """State how it differs from the spec, and how a person resolves that."""
        super().__init__(
            f"{kind} {namespace}/{name} was created from an older spec and is not bound yet: "
            f"{differences}. Its fields cannot be changed: delete it, and the operator creates it "
            f"again (kubectl -n {namespace} delete {kind.lower()} {name})"
        )


class RefusedError(OperatorError):
    """A report that the operator does not accept."""

    def __init__(
        self, status: HTTPStatus, reason: str, message: str, *, retry_after_s: float | None = None
    ) -> None:
        """Carry the HTTP status, a label for the metric, and the answer to the sender."""
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after_s = retry_after_s


def cluster_error(request: str, status: int, reason: str, message: str) -> ClusterError:
    """Return the error for an answer of `status`; `reason` is metav1.Status's."""
    return _class_of(status, reason)(request, status, message)


def _class_of(status: int, reason: str) -> type[ClusterError]:
    if status == HTTPStatus.CONFLICT and reason == "AlreadyExists":
        return AlreadyExistsError
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return UnavailableError
    return _BY_STATUS.get(status, ClusterError)


_BY_STATUS: dict[int, type[ClusterError]] = {
    0: UnavailableError,
    HTTPStatus.BAD_REQUEST: InvalidError,
    HTTPStatus.UNAUTHORIZED: UnauthorizedError,
    HTTPStatus.FORBIDDEN: ForbiddenError,
    HTTPStatus.NOT_FOUND: NotFoundError,
    HTTPStatus.REQUEST_TIMEOUT: UnavailableError,
    HTTPStatus.CONFLICT: ConflictError,
    HTTPStatus.GONE: GoneError,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: InvalidError,
    HTTPStatus.UNPROCESSABLE_ENTITY: InvalidError,
    HTTPStatus.TOO_MANY_REQUESTS: UnavailableError,
}
