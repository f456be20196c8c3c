"""What usually is a secret: files by their name, and texts by what stands in them.

``denied_by`` goes by the name alone, without opening anything. A glob may stand for any part of the path, and keeps out
what is inside of a folder that it names; ``*`` stays within a part and ``**`` does not; one that ends in a slash is for
folders only. The case of letters is ignored. ``secret_in`` reads a text, and says what kind of secret it found, never
the secret.
"""

import math
import re
from collections import Counter
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


def denied_by(path: str, globs: tuple[str, ...] = ()) -> str | None:
    """The glob that keeps ``path`` out of every prompt; None where none does."""
    plain = path.replace("\\", "/").lower()
    return next((glob for glob in (*DENIED, *globs) if glob.strip(" /") and _pattern(glob).search(plain)), None)


@lru_cache(maxsize=1024)
def _pattern(glob: str) -> re.Pattern[str]:
    glob = glob.strip().lower()
    is_folder = glob.endswith("/")
    inner = _translated(glob.strip("/"))
    end = "/." if is_folder else "(?:/|$)"
    return re.compile(f"^(?:.*/)?{inner}{end}", re.DOTALL)


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
    ("a private key", r"-----BEGIN (?:[A-Z0-9]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----|PuTTY-User-Key-File-\d"),
    ("an AWS key", r"\b(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}\b"),
    ("a GitHub token", r"\bgh[pousr]_[A-Za-z0-9]{36,}|\bgithub_pat_[A-Za-z0-9_]{50,}"),
    ("a GitLab token", r"\bglpat-[\w-]{20,}"),
    ("a Slack token", r"\bxox[abeoprs]-[0-9A-Za-z-]{10,}|hooks\.slack\.com/services/T\w+/B\w+/\w+"),
    ("a Stripe key", r"\b[rs]k_live_[0-9A-Za-z]{16,}"),
    ("a Google key", r"\bAIza[0-9A-Za-z_-]{35}|\bya29\.[0-9A-Za-z_-]{20,}"),
    ("an API key", r"\bsk-(?:[a-z]+-)?(?=[A-Za-z_-]*\d)[A-Za-z0-9_-]{32,}"),
    ("a registry's token", r"\bnpm_[A-Za-z0-9]{36}\b|\bpypi-AgEI[\w-]{50,}|\bhf_[A-Za-z]{34}\b|\bdop_v1_[0-9a-f]{64}"),
    ("a signed token", r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,}"),
)
"""By the form that its issuer gave it."""
_FORMS = tuple((what, re.compile(form)) for what, form in FORMS)
_TELLING = (
    r"secret|token|passw(?:or)?d|passphrase|pwd|api[_.-]?key|private[_.-]?key|access[_.-]?key|account[_.-]?key"
    r"|auth[_.-]?key|signing[_.-]?key|encryption[_.-]?key|credential"
)
_TELLING_WORD = re.compile(_TELLING, re.IGNORECASE)
_QUOTED = re.compile(
    r"""[\w.-]*["'`\])]{0,3}[^\n"'`]*?[=:(,>]\s*[a-zA-Z]{0,2}(?P<sign>["'`])(?P<value>[^"'`\s]{16,})(?P=sign)"""
)
_PLAIN = re.compile(r"""[\w.-]*["']?[ \t]*[=:][ \t]*(?P<value>[A-Za-z0-9+/=_-]{20,})[ \t]*(?=[\r\n]|$)""")
_LOGIN = re.compile(
    r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@\"'{}<>$]{1,64}:(?P<value>[^\s/@\"'{}<>$]{8,128})@", re.IGNORECASE
)
LEAST_ENTROPY = 3.5
"""Bits a character. Words and paths mostly stay below it, and 20 random characters of base 64 do not. Random
hexadecimal digits, which have at most 4, are told apart."""
_COMMON = re.compile(r"pass|word|secret|example|change|your|test|dummy|sample|xxxx|\.\.\.", re.IGNORECASE)


def secret_in(text: str) -> str | None:
    """What kind of secret stands in ``text`` and where, as "a private key (line 3)"; None where none was found.

    What a form or a telling name gives away is found: a password like a word is not, and neither is a key under a name
    that says nothing.
    """
    for what, form in _FORMS:
        if (found := form.search(text)) is not None:
            return _told(what, text, found.start())
    for word in _TELLING_WORD.finditer(text):
        found = _QUOTED.match(text, word.end()) or _PLAIN.match(text, word.end())
        if found is not None and _is_random(found["value"]):
            return _told("what looks like a secret", text, found.start("value"))
    for found in _LOGIN.finditer(text):
        if not _COMMON.search(found["value"]) and entropy(found["value"]) > 2.5:
            return _told("a password in an address", text, found.start())
    return None


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
