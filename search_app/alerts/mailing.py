"""Alerts as mails, handed to a mail server."""

import asyncio
import smtplib
import ssl
from email.message import EmailMessage

from search_app.alerts.message import Payload, mail
from search_app.config import Settings
from search_app.errors import AlertNotSentError

TIMEOUT_S = 30.0
"""Longest wait for one answer of the server."""

PORTS = {"starttls": 587, "tls": 465, "none": 25}


async def send(settings: Settings, payload: Payload) -> str | None:
    """Hand an alert to the mail server; says which recipients it refused, if it took others.

    Raises:
        AlertNotSentError: it is not reached, does not let us in, or takes no recipient.
    """
    if not settings.alert_mail_to:
        raise AlertNotSentError("mail: UNMOVED_ALERT_MAIL_TO is not set any more")
    message = mail(payload, sender=settings.alert_mail_from, recipients=settings.alert_mail_to)
    try:
        refused = await asyncio.to_thread(_send, settings, message)
    except (smtplib.SMTPException, OSError, ValueError) as exc:
        raise AlertNotSentError(f"mail: {settings.smtp_host}: {_reason(exc)}") from exc
    return f"refused for {', '.join(refused)}" if refused else None


def _send(settings: Settings, message: EmailMessage) -> list[str]:
    port = settings.smtp_port or PORTS[settings.smtp_security]
    with _connected(settings, port) as server:
        if settings.smtp_security == "starttls":
            server.starttls(context=ssl.create_default_context())
        if settings.smtp_user:
            password = settings.smtp_password
            server.login(settings.smtp_user, password.get_secret_value() if password else "")
        return list(server.send_message(message))


def _connected(settings: Settings, port: int) -> smtplib.SMTP:
    if settings.smtp_security == "tls":
        return smtplib.SMTP_SSL(
            settings.smtp_host, port, timeout=TIMEOUT_S, context=ssl.create_default_context()
        )
    return smtplib.SMTP(settings.smtp_host, port, timeout=TIMEOUT_S)


def _reason(error: Exception) -> str:
    """Say in one line what the server or the way to it answered."""
    match error:
        case smtplib.SMTPRecipientsRefused():
            answers = {_words(code, text) for code, text in error.recipients.values()}
            said = f"no recipient is taken: {'; '.join(sorted(answers))}"
        case smtplib.SMTPAuthenticationError():
            said = (
                f"the login is refused ({error.smtp_code}); check UNMOVED_SMTP_USER and "
                "UNMOVED_SMTP_PASSWORD"
            )
        case smtplib.SMTPResponseException():
            said = _words(error.smtp_code, error.smtp_error)
        case smtplib.SMTPNotSupportedError():
            said = f"{error}; see UNMOVED_SMTP_SECURITY"
        case ssl.SSLCertVerificationError():
            said = f"its certificate is not good: {error.verify_message}"
        case TimeoutError():
            said = "no answer in time"
        case OSError() if error.strerror:
            said = error.strerror.lower()
        case _:
            said = str(error) or type(error).__name__
    return " ".join(said.split())


def _words(code: int, text: bytes | str) -> str:
    words = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
    return f"{code} {' '.join(words.split())}"
