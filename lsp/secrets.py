"""Which files never enter a prompt: what usually holds a secret, and what the user's globs name.

By name alone, without opening anything. A glob may stand for any part of the path, and keeps out what is inside of a
folder that it names; ``*`` stays within a part and ``**`` does not; one that ends in a slash is for folders only. The
case of letters is ignored.
"""

import re
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
