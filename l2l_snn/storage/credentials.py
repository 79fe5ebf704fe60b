"""Passwords in a store's URL: kept out of everything that is printed, stored or raised.

>>> shown("postgresql://me:secret@host/db?password=secret")
'postgresql://me:***@host/db?password=***'
>>> scrubbed("no user with secret", "postgresql://me:secret@host/db")
'no user with ***'
"""

import re
from urllib.parse import unquote, unquote_plus

_USER = re.compile(r"([^:/]*://[^:/]*):(.*)@", re.DOTALL)  # to the last @, since people type @ and / into passwords
_SECRET = re.compile(r"(?i)(password|passwd|passphrase|secret|token)$")
MASK = "***"


def is_secret(key: str) -> bool:
    """Return whether the value of a URL's option is one to hide; a file's name (`passfile`) is none.

    >>> is_secret("sslpassword"), is_secret("passfile")
    (True, False)
    """
    return bool(_SECRET.search(unquote(key)))


def shown(url: str) -> str:
    """Return the URL as it may be printed: without passwords."""
    return _split_secrets(url)[0]


def scrubbed(text: str, url: str) -> str:
    """Return a text of the database or its driver without the URL's passwords, typed or decoded."""
    forms = {form for secret in _split_secrets(url)[1] for form in (secret, unquote(secret), unquote_plus(secret))}
    for form in sorted(forms - {"", MASK}, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def typed_password(url: str) -> str:
    """Return the password before the URL's host as it was typed, "" if there is none."""
    found = _USER.match(_cut_options(url)[0])
    return found[2] if found else ""


def _cut_options(url: str) -> tuple[str, str]:
    """Return what stands before the options and the options; all is one piece where a password may hold the "?"."""
    head, _, options = url.partition("?")
    return (url, "") if "@" in options and _USER.match(url) else (head, options)


def _split_secrets(url: str) -> tuple[str, list[str]]:
    """Return the URL to show, and the passwords in it as they were typed."""
    head, options = _cut_options(url)
    secrets, parts, hidden = [typed_password(url)], [], False
    for part in re.split("([&;])", options):
        key, sign, value = part.partition("=")
        if sign and is_secret(key):
            hidden = True
        elif sign:
            hidden = False
            inner, more = _split_secrets(unquote(value)) if "://" in unquote(value) else (value, [])
            secrets += more
            value = inner if any(more) else value
        if hidden and part not in ("&", ";", ""):
            secrets.append(value if sign else part)
            part = f"{key}={MASK}" if sign else MASK  # the latter is a password's end, after a & that was typed
        elif sign:
            part = f"{key}={value}"
        parts.append(part)
    text = _USER.sub(rf"\1:{MASK}@", head, count=1) if _USER.match(head) else head
    return text + ("?" if "?" in url and head != url else "") + "".join(parts), [s for s in secrets if s]
