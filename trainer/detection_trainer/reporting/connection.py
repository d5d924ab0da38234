"""One connection to the operator, kept open because a handshake costs more than a report.

Only one thread at a time may use it.
"""

import http.client
import ssl
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit


class UntrustedError(Exception):
    """The certificate does not identify the other side as the operator."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The operator's response."""

    status: int
    retry_after: str | None
    body: bytes


class Connection:
    """Posts to one URL without proxies, which are configured for storage."""

    def __init__(self, url: str, ca_file: Path | None = None) -> None:
        """Create the connection; the first post connects.

        Args:
            url: http:// or https://.
            ca_file: PEM of the authorities to trust; None: the system's. Read for each handshake.
        """
        self._url, self._ca_file = url, ca_file
        self._parts = urlsplit(url)
        self._open: http.client.HTTPConnection | None = None

    def post(self, body: bytes, headers: dict[str, str], timeout_s: float) -> Answer:
        """Post once; reconnects if the operator has closed the connection in the meantime.

        Raises:
            UntrustedError: the certificate was not accepted.
            OSError: there was no response.
        """
        kept = self._open is not None
        try:
            return self._post(body, headers, timeout_s)
        except (ConnectionError, ssl.SSLError):
            if not kept:
                raise
            # The operator may close an idle connection. A report that arrives twice does no harm.
            return self._post(body, headers, timeout_s)

    def close(self) -> None:
        """Close the connection; the next post opens another one."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def _post(self, body: bytes, headers: dict[str, str], timeout_s: float) -> Answer:
        try:
            connection = self._connect(timeout_s)
            path = self._parts.path + (f"?{self._parts.query}" if self._parts.query else "")
            connection.request("POST", path or "/", body, headers)
            response = connection.getresponse()
            answer = Answer(response.status, response.headers["Retry-After"], response.read())
        except ssl.SSLCertVerificationError as error:
            self.close()
            raise UntrustedError(self._explain(error)) from error
        except http.client.HTTPException as error:
            self.close()
            if isinstance(error, OSError):
                raise
            raise OSError(f"the answer is no HTTP: {error!r}") from error
        except OSError:
            self.close()
            raise
        if response.will_close:
            self.close()
        return answer

    def _connect(self, timeout_s: float) -> http.client.HTTPConnection:
        if self._open is None:
            self._open = self._make(timeout_s)
            self._open.connect()
        elif self._open.sock is not None:
            self._open.sock.settimeout(timeout_s)
        return self._open

    def _make(self, timeout_s: float) -> http.client.HTTPConnection:
        host, port = self._parts.hostname or "", self._parts.port
        if self._parts.scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=timeout_s)
        try:
            context = ssl.create_default_context(cafile=self._ca_file)
        except (OSError, ssl.SSLError) as error:
            msg = f"expected authorities as PEM in {self._ca_file}; received {error}"
            raise UntrustedError(msg) from error
        return http.client.HTTPSConnection(host, port, timeout=timeout_s, context=context)

    def _explain(self, error: ssl.SSLCertVerificationError) -> str:
        trusted = (
            f"an authority in {self._ca_file}" if self._ca_file else "the system's authorities"
        )
        return (
            f"the certificate of {self._parts.hostname} was not accepted: {error.verify_message}; "
            f"expected one for that name, signed by {trusted} (--report-ca-file)"
        )
