import pytest

from assistant.workspace.secrets import denied_by, secret_in

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


# What stands in a text. The keys are put together here, so that no scanner takes this file for a leak.

RANDOM = "q7Zk" + "P2mX9vB4tR8wL1nC6yD3"
FOUND = [
    ("-----BEGIN RSA PRIVATE" + " KEY-----\nMIIE", "a private key"),
    ("-----BEGIN OPENSSH PRIVATE" + " KEY-----", "a private key"),
    ("-----BEGIN PGP PRIVATE" + " KEY BLOCK-----", "a private key"),
    ("id = 'AKIA" + "ABCDEFGHIJKLMNOP'", "an AWS key"),
    ("gh" + "p_" + "a1B2" * 9, "a GitHub token"),
    ("xox" + "b-123456789012-abcdefABCDEF", "a Slack token"),
    ("glpat" + "-abcdefghijklmnopqrst", "a GitLab token"),
    ("sk_" + "live_" + RANDOM, "a Stripe key"),
    ("sk-" + "proj-" + RANDOM + RANDOM, "an API key"),
    ("eyJ" + "hbGciOiJIUzI1NiJ9." + "eyJ" + "zdWIiOiIxMjM0In0." + "abcDEF123456_-", "a signed token"),
    (f"API_KEY = '{RANDOM}'", "a secret"),
    (f'"client_secret": "{RANDOM}"', "a secret"),
    (f"os.environ['TOKEN'] = \"{RANDOM}\"", "a secret"),
    (f"login(password='{RANDOM}')", "a secret"),
    (f"const accessKey: string = `{RANDOM}`", "a secret"),
    (f"db_password={RANDOM}\n", "a secret"),
    (f"auth-token: {RANDOM}", "a secret"),
    ("secret = '" + "9f86d081884c7d659a2feaa0c55ad015" + "'", "a secret"),
    ("url = 'postgres://admin:" + "hK8!x2Qz9w" + "@db/main'", "a password in an address"),
]
HARMLESS = [
    "password = input('password: ')",
    "token = tokenizer.encode(text)[position]",
    "secret_name = 'the name of the secret that is meant'",
    "TOKEN_TYPE = 'application/x-www-form-urlencoded'",
    "api_key = os.environ['SERVICE_API_KEY_FOR_TESTS']",
    "self.token_to_id = {token: i for i, token in enumerate(tokens)}",
    "password = 'correct horse battery staple'",
    "key = 'q7ZkP2mX9vB4tR8wL1nC6yD3'",
    "url = 'https://user:password@example.com/path'",
    "url = f'https://{user}:{password}@{host}'",
    "commit = '9f86d081884c7d659a2feaa0c55ad015'",
    "-----BEGIN PUBLIC KEY-----",
    "sk-learn is a library with a name like scikit-learn-and-more-words",
    "password: aaaaaaaaaaaaaaaaaaaaaaaa1111",
]


@pytest.mark.parametrize(("text", "what"), FOUND, ids=lambda value: value[:24])
def test_what_looks_like_a_key_is_found(text: str, what: str) -> None:
    found = secret_in("a = 1\n" + text)
    assert found is not None
    assert what in found
    assert "(line 2)" in found


@pytest.mark.parametrize("text", HARMLESS)
def test_code_about_keys_is_harmless(text: str) -> None:
    assert secret_in(text) is None


def test_the_finding_never_holds_the_secret() -> None:
    for text, _ in FOUND:
        found = secret_in(text)
        assert found is not None
        assert not any(word in found for word in text.split() if len(word) > 12)


def test_capitals_that_grow_in_lower_case_move_nothing() -> None:
    assert secret_in("\u0130" * 50 + f"\nAPI_KEY = '{RANDOM}'") == "what looks like a secret (line 2)"


@pytest.mark.parametrize("text", ["token" * 8000, "token = " * 4000, "token" * 4000 + " '" * 4000], ids=len)
def test_a_long_line_of_telling_names_takes_no_minutes(text: str) -> None:
    """The time once grew with the third power of the length: at this one it would not end."""
    assert secret_in(text) is None
