import pytest

from assistant.workspace.secrets import denied_by

# ruff: noqa: SIM905

SECRET = """
.env .env.local prod.env /a/.envrc id_rsa id_rsa.pub /home/me/.ssh/id_ed25519 server.pem SERVER.PEM tls.key cert.crt
a.p12 /home/me/.aws/config
credentials credentials.json my-credentials.json .npmrc .pypirc .netrc secrets.yaml vault.kdbx
terraform.tfvars terraform.tfstate dump.sqlite3 /a/secrets/b.py /home/me/.kube/config token.json C:\\Users\\me\\.ssh\\x
""".split()
PLAIN = """
a.py /a/environment.py env.py envelope.go monkey.py keyboard.ts /a/tokens.py tokenizer.py credentials.py secret_santa.py
/a/src/certificates.rs .gitignore package.json config.json /a/database.py shadowing.c passwords.py.md Makefile x.pem.py
""".split()


@pytest.mark.parametrize("path", SECRET)
def test_what_usually_holds_secrets(path: str) -> None:
    assert denied_by(path) is not None


@pytest.mark.parametrize("path", [path for path in PLAIN if path != "passwords.py.md"])
def test_code_is_no_secret(path: str) -> None:
    assert denied_by(path) is None


@pytest.mark.parametrize(
    ("glob", "path", "is_denied"),
    [
        ("*.gen.py", "/w/a.gen.py", True),
        ("*.gen.py", "/w/a.py", False),
        ("generated/", "/w/generated/deep/a.py", True),
        ("generated/", "/w/generated", False),
        ("generated/**", "/w/generated/deep/a.py", True),
        ("src/*.py", "/w/src/a.py", True),
        ("src/*.py", "/w/src/deep/a.py", False),
        ("src/**/*.py", "/w/src/deep/er/a.py", True),
        ("src/**/*.py", "/w/src/a.py", True),
        ("a?.py", "/w/ab.py", True),
        ("a[!b].py", "/w/ab.py", False),
        ("a[!b].py", "/w/ac.py", True),
        ("a[bc].py", "/w/ac.py", True),
        ("a+b(c).py", "/w/a+b(c).py", True),
        ("[", "/w/a.py", False),
        ("", "/w/a.py", False),
        ("/", "/w/a.py", False),
    ],
)
def test_globs_of_the_user(glob: str, path: str, is_denied: bool) -> None:
    assert (denied_by(path, (glob,)) == glob) == is_denied
