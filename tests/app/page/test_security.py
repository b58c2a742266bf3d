"""Who is refused: foreign hosts, foreign pages, who lacks the token, and who asks for files."""

import http.cookies

import pytest

from stvh_jax.app.security import Door
from stvh_jax.app.views import Views
from tests.helpers.served import serving

TOKEN = "correct-horse-battery"
PATHS = ["/", "/results", "/research", "/static/page.js", "/map", "/poster?clip=gala/1", "/nothing"]

OUTSIDE = [
    "/static/../server.py", "/static/../../app/server.py", "/static/%2e%2e/server.py",
    "/static/..%2fserver.py", "/static//etc/passwd", "/static/%2fetc%2fpasswd",
    "/static/..\\server.py", "//etc/passwd", "/../../etc/passwd", "/etc/passwd",
    "/static/", "/static/page.css/..", "/static/%00", "/static/" + "a/" * 2000,
    "/static/" + "%2e%2e/" * 20 + "etc/passwd",
]  # fmt: skip


@pytest.mark.parametrize("path", OUTSIDE, ids=range(len(OUTSIDE)))
def test_no_other_file_is_served(served, path):
    answer = served.ask(path)
    assert answer.status in (400, 404, 405) and len(answer.content) < 100


FILES = [
    "../../etc/passwd",
    "/etc/passwd",
    "..%2f..",
    "gala/../../../etc/passwd",
    "file:///etc/passwd",
]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("path", ["/poster", "/loop", "/boxes", "/"])
def test_clips_are_names_and_not_paths(served, path, name):
    answer = served.get(path, clip=name)
    assert answer.status in (400, 404)
    assert b"root:" not in answer.content
    assert "not in the index" in answer.text or "not the name of a clip" in answer.text


HOSTS = [
    "example.com", "example.com:{port}", "127.0.0.1", "127.0.0.1:1", "0.0.0.0:{port}", "",
    "localhost.example.com:{port}", "127.0.0.1.nip.io:{port}", "127.0.0.2:{port}", "[::2]:{port}",
]  # fmt: skip


@pytest.mark.parametrize("host", HOSTS)
def test_a_foreign_name_of_this_machine_is_refused(served, host):
    for path in PATHS:
        answer = served.ask(path, host=host.format(port=served.door.port))
        assert answer.status == 421 and served.door.address in answer.text


def test_its_own_names_are_not(served):
    for host in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        assert served.ask("/", host=f"{host}:{served.door.port}").status == 200


def test_what_changes_something_has_to_come_from_the_page(served):
    own = {"origin": served.address, "sec_fetch_site": "same-origin"}
    foreign = [
        *({"origin": origin} for origin in ("http://example.com", "null", "http://127.0.0.1:1")),
        *({"origin": f"http://example.com:{served.door.port}"}, {"origin": ""}),
        *({"sec_fetch_site": site} for site in ("cross-site", "same-site")),
    ]
    for path in ("/save", "/upload", "/", "/nothing"):
        for headers in foreign:
            answer = served.ask(path, method="POST", body=b"", **headers)
            assert (answer.status, answer.text) == (403, "sent from another page; refused")
        assert served.ask(path, method="POST", body=b"", **own).status != 403
        assert served.ask(path, method="DELETE", origin="http://example.com").status == 403


def test_every_answer_says_what_a_browser_may_do(served):
    answers = [
        served.ask(path) for path in (*PATHS, "/ask?text=nonsense", "/?scale=x", "/ask?text=set")
    ]
    answers.append(served.ask("/", host="example.com"))
    answers.append(served.ask("/save", method="POST", body=b"", origin="http://example.com"))
    answers.append(served.ask("/", method="DELETE"))
    assert {answer.status for answer in answers} >= {200, 303, 400, 403, 404, 405, 421}
    for answer in answers:
        policy = dict(
            part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; ")
        )
        assert policy.pop("default-src") == policy.pop("base-uri") == "'none'"
        assert policy.pop("frame-ancestors") == "'none'"
        assert set(policy.values()) == {"'self'"}
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert not any(name.startswith("access-control") for name in answer.headers)
    # What shows the index is not kept by others; what has its version in its name may be.
    assert served.ask("/").headers["cache-control"] == "no-store"


def test_an_error_of_ours_tells_nothing_and_is_guarded(served, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("secret")

    monkeypatch.setattr(Views, "_found", broken)
    answer = served.ask("/")
    assert answer.status == 500 and "secret" not in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]


def test_pages_have_no_script_or_style_of_their_own(served):
    for path in ("/", "/?clip=cup+final/5", "/research?clip=cup+final/5"):
        text = served.ask(path).text
        assert "<style" not in text and " style=" not in text and "javascript:" not in text
        assert text.count("<script") == text.count('<script src="/static/')
        assert " onclick=" not in text and "data:" not in text and "https://" not in text


@pytest.fixture(scope="module")
def locked(shown, tmp_path_factory):
    """Serves the index to who has the token."""
    with serving(shown.open(), tmp_path_factory.mktemp("locked"), token=TOKEN) as page:
        yield page


def test_without_the_token_nothing_is_served(locked):
    name = locked.door.cookie
    for path in PATHS:
        wrong = [{}, {"cookie": f"{name}=x"}, {"cookie": "stvh_1=" + TOKEN}, {"cookie": f"{name}="},
                 {"cookie": ";;=\x7f"}, {"authorization": f"Bearer {TOKEN}"}]  # fmt: skip
        for headers in wrong:
            answer = locked.ask(path, **headers)
            assert answer.status == 401 and "open the whole address" in answer.text
        assert TOKEN not in answer.text
    for token in ("x", TOKEN[:-1], TOKEN + "x", "", "é", TOKEN.upper()):
        assert locked.get("/", token=token).status == 401


def test_the_token_lets_in_by_a_cookie_that_scripts_cannot_read(locked):
    path = locked.door.address.removeprefix(locked.address)
    answer = locked.ask(path, host="anything.example:80")
    assert (answer.status, answer.headers["location"]) == (303, "/")
    (cookie,) = http.cookies.SimpleCookie(answer.headers["set-cookie"]).values()
    assert (
        cookie.key == locked.door.cookie and cookie["httponly"] and cookie["samesite"] == "strict"
    )
    for path in PATHS[:-1]:
        there = locked.ask(
            path, cookie=f"other=1; {cookie.key}={cookie.value}", host="page.example"
        )
        assert there.status == 200
    changed = locked.ask(
        "/save",
        method="POST",
        body=b"",
        origin="http://example.com",
        cookie=f"{cookie.key}={cookie.value}",
    )
    assert changed.status == 403


def test_addresses_to_open():
    assert Door("127.0.0.1", 8765).address == "http://127.0.0.1:8765/"
    assert Door("::1", 80).address == "http://[::1]:80/"
    assert Door("0.0.0.0", 80, "a b&c").address == "http://0.0.0.0:80/?token=a+b%26c"
