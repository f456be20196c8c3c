"""What usually is a secret: files by their name, and texts by what stands in them.

``denied_by`` goes by the name alone, without opening anything. A glob may stand for any part of the path, and keeps out
what is inside of a folder that it names; ``*`` stays within a part and ``**`` does not; one that ends in a slash is for
folders only. The case of letters is ignored. ``secret_in`` reads a text, and says what kind of secret it found, never
the secret.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache

DENIED = (
    # settings of the environment
    ".env", ".env.*", "*.env", ".envrc", "*.secret", "*.secrets", "secrets.*", ".netrc", "_netrc", ".pgpass", ".my.cnf",
    ".npmrc", ".pypirc", ".htpasswd", ".git-credentials", ".dockercfg", ".vault-token", ".terraformrc", "*.tfvars",
    "*.tfvars.json", "*.tfstate", "*.tfstate.*",
    # keys and certificates
    "*.pem", "*.key", "*.p8", "*.p12", "*.pfx", "*.pkcs12", "*.crt", "*.cer", "*.der", "*.csr", "*.jks", "*.keystore",
    "*.truststore", "*.ppk", "*.asc", "*.gpg", "*.pgp", "*.kdbx", "*.kdb", "*.ovpn", "*.mobileprovision",
    "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "authorized_keys", "known_hosts", "*_rsa", "*_ed25519",
    # credentials
    "credentials", ".credentials", "credentials.json", "credentials.y*ml", "credentials.toml", "credentials.ini",
    "credentials.xml", "credentials.csv", "credentials.txt", "*credentials.json", "client_secret*.json",
    "service-account*.json", "service_account*.json", "auth.json", "token", "token.json", "token.txt", "*.token",
    "passwd", "shadow", "password*.txt", "passwords.*", "kubeconfig", "*.kubeconfig",
    # databases and their backups
    "*.db", "*.sqlite", "*.sqlite3", "*.mdb", "*.accdb", "*.dump", "*.bak", "*.backup",
    # folders
    ".ssh/", ".gnupg/", ".gpg/", ".aws/", ".azure/", ".gcp/", ".gcloud/", ".kube/", ".docker/", ".secrets/", "secrets/",
    ".password-store/",
)  # fmt: skip


@lru_cache(maxsize=4096)
def denied_by(path: str, globs: tuple[str, ...] = ()) -> str | None:
    """The glob that keeps ``path`` out of every prompt; None where none does."""
    plain = path.replace("\\", "/").lower()
    if not globs and _any_denied().search(plain) is None:
        return None
    return next((glob for glob in (*DENIED, *globs) if glob.strip(" /") and _pattern(glob).search(plain)), None)


def check_glob(glob: str) -> None:
    """Raises ``ValueError``: the glob has no meaning."""
    try:
        _pattern(glob)
    except re.error as error:
        raise ValueError(f"{glob!r} is no glob: {error}") from error


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    return re.compile(f"^(?:.*/)?{_ending(glob)}", re.DOTALL)


@lru_cache(maxsize=1)
def _any_denied() -> re.Pattern[str]:
    """All of the list in one, since most files match none of it."""
    return re.compile(f"^(?:.*/)?(?:{'|'.join(_ending(glob) for glob in DENIED)})", re.DOTALL)


def _ending(glob: str) -> str:
    glob = glob.strip().lower()
    return _translated(glob.strip("/")) + ("/." if glob.endswith("/") else "(?:/|$)")


def _translated(glob: str) -> str:
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^\]]+\])", glob)
    return "".join(_piece(part) for part in parts)


def _piece(part: str) -> str:
    if part in SPECIAL:
        return SPECIAL[part]
    if part.startswith("[") and part.endswith("]") and len(part) > 2:
        inside = part[1:-1].replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
        negated = inside.startswith("!")
        return f"[^/{inside[1:]}]" if negated else f"[{inside}]"
    return re.escape(part)


SPECIAL = {"": "", "**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


# What stands in a text.

FORMS = (
    ("a private key", "PRIVATE KEY", r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"),
    ("a private key", "PuTTY-User-Key-File", r"PuTTY-User-Key-File-\d"),
    *(("an AWS key", start, rf"\b{start}[0-9A-Z]{{16}}\b") for start in ("AKIA", "ASIA", "ABIA", "ACCA")),
    *(("a GitHub token", f"gh{kind}_", rf"\bgh{kind}_[A-Za-z0-9]{{36,}}") for kind in "pousr"),
    ("a GitHub token", "github_pat_", r"\bgithub_pat_[A-Za-z0-9_]{50,}"),
    ("a GitLab token", "glpat-", r"\bglpat-[\w-]{20,}"),
    ("a Slack token", "xox", r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}"),
    ("a Slack address", "hooks.slack.com", r"hooks\.slack\.com/services/T\w+/B\w+/\w+"),
    ("a Stripe key", "k_live_", r"\b[rs]k_live_[0-9A-Za-z]{16,}"),
    ("a Google key", "AIza", r"\bAIza[0-9A-Za-z_-]{35}"),
    ("a Google token", "ya29.", r"\bya29\.[0-9A-Za-z_-]{20,}"),
    ("an API key", "sk-", r"\bsk-(?:[a-z]+-)?(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{32,}"),
    ("a registry's token", "npm_", r"\bnpm_[A-Za-z0-9]{36}\b"),
    ("a registry's token", "pypi-AgEI", r"\bpypi-AgEI[\w-]{50,}"),
    ("a registry's token", "hf_", r"\bhf_[A-Za-z]{34}\b"),
    ("an access token", "dop_v1_", r"\bdop_v1_[0-9a-f]{64}"),
    ("a signed token", "eyJ", r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
)
"""By the form that its issuer gave it: what it is, a text without which it is not there, and the form."""
TELLING = ("secret", "token", "passw", "passphrase", "pwd", "credential")
"""Parts of names whose value is a secret, in lower case."""
TELLING_KEYS = ("api", "private", "access", "account", "auth", "signing", "encryption")
"""The same, in front of "key"."""
_NAME_BEFORE_KEY = re.compile(rf"(?:{'|'.join(TELLING_KEYS)})[_.-]?$")
_QUOTED = re.compile(
    r"""[\w.-]*+["'`\])]{0,3}[^\n"'`]{0,200}?[=:(,>]\s*+[a-zA-Z]{0,2}(?P<sign>["'`])(?P<value>[^"'`\s]{16,})(?P=sign)"""
)
_PLAIN = re.compile(r"""[\w.-]*+["']?[ \t]*[=:][ \t]*(?P<value>[A-Za-z0-9+/=_-]{20,})[ \t]*(?=[\r\n]|$)""")
_LOGIN = re.compile(r"://[^\s/:@\"'{}<>$]{1,64}:(?P<value>[^\s/@\"'{}<>$]{8,128})@")
LEAST_ENTROPY = 3.5
"""Bits a character. Words and paths mostly stay below it, and 20 random characters of base 64 do not. Random
hexadecimal digits, which have at most 4, are told apart."""
LEAST_IN_ADDRESS = 2.5
_COMMON = re.compile(r"pass|word|secret|example|change|your|test|dummy|sample|xxxx|\.\.\.", re.IGNORECASE)


def secret_in(text: str) -> str | None:
    """What kind of secret stands in ``text`` and where, as "a private key (line 3)"; None where none was found.

    What a form or a telling name gives away is found: a password like a word is not, and neither is a key under a name
    that says nothing.
    """
    for what, needle, form in FORMS:  # most needles are nowhere, so that few forms are ever compiled
        if needle in text and (found := _compiled(form).search(text)) is not None:
            return _told(what, text, found.start())
    for end in _telling_ends(text):
        found = _QUOTED.match(text, end) or _PLAIN.match(text, end)
        if found is not None and _is_random(found["value"]):
            return _told("what looks like a secret", text, found.start("value"))
    for found in _LOGIN.finditer(text):
        if not _COMMON.search(found["value"]) and entropy(found["value"]) > LEAST_IN_ADDRESS:
            return _told("a password in an address", text, found.start())
    return None


@lru_cache(maxsize=64)
def _compiled(form: str) -> re.Pattern[str]:
    return re.compile(form)


def _telling_ends(text: str) -> Iterator[int]:
    """Where the telling part of a name ends. Plain searches: a pattern would be looked for at every letter."""
    lower = text.lower()
    if len(lower) != len(text):  # a few capital letters become two signs
        lower = "".join(sign.lower() if sign.isascii() else " " for sign in text)
    for needle in TELLING:
        at = lower.find(needle)
        while at >= 0:
            yield at + len(needle)
            at = lower.find(needle, at + 1)
    at = lower.find("key")
    while at >= 0:
        if _NAME_BEFORE_KEY.search(lower, max(0, at - 12), at):
            yield at + 3
        at = lower.find("key", at + 1)


def _told(what: str, text: str, at: int) -> str:
    line = text.count("\n", 0, at) + 1
    return f"{what} (line {line})"


def _is_random(value: str) -> bool:
    """Many different characters, letters and digits among them, and not one of the names that programs are made of."""
    digits = sum(sign.isdigit() for sign in value)
    letters = sum(sign.isalpha() for sign in value)
    if digits < 2 or letters < 2 or not value.isascii() or any(sign in value for sign in "{}<>$%()"):
        return False
    if len(value) >= 32 and re.fullmatch(r"[0-9a-fA-F-]+", value):
        return entropy(value) >= 3.0
    return entropy(value) >= LEAST_ENTROPY and digits >= len(value) / 12


def entropy(text: str) -> float:
    """Bits a character."""
    total = len(text)
    return -sum(n / total * math.log2(n / total) for n in Counter(text).values())
