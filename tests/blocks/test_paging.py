"""Notifications: who gets what, what a failure looks like, and that nothing is repeated on a route that worked."""

from __future__ import annotations

import json
import ssl
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from threading import Thread

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prefect.settings import PREFECT_API_URL, PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from pydantic import SecretStr

from blocks.errors import Misconfigured, Transient
from blocks.ledger import outbox
from blocks.ledger.records import Notification
from blocks.ledger.schema import outbox as parcels
from blocks.paging import PAGERDUTY, Paging
from flows.triggers.sweep.notices import deliver_notices, remember_paging

PAGE = Notification(
    urgency="page",
    title="NeedsHuman: postgres-failover on orders",
    body="n1 is fenced and nobody was promoted.",
    about="postgres-failover on orders",
    resource="recovery.postgres.orders",
    run_id="r1",
    url="http://prefect/runs/r1",
)
RECOVERED = PAGE.model_copy(update={"urgency": "inform", "title": "Recovered", "resolves": True})
INFORM = PAGE.model_copy(update={"urgency": "inform"})


class Service:
    """A web hook that keeps what it gets, and can be told to answer something else."""

    def __init__(self, tls=None):
        self.got, self.answer = [], 202
        service = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                service.got.append((self.path, json.loads(body)))
                self.send_response(service.answer)
                self.end_headers()
                self.wfile.write(b'{"status": "success", "dedup_key": "x"}')

            def log_message(self, *_args):
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def service(tmp_path, monkeypatch):
    """Run the services that are told: a web hook, and a PagerDuty, whose client insists on TLS."""
    certificate = certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    it = Service()
    it.duty = Service(tls)
    yield it
    it.stop()
    it.duty.stop()


def certified(directory):
    """Make a certificate for 127.0.0.1, with its key, in one file."""
    key, at = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(at - timedelta(hours=1)).not_valid_after(at + timedelta(hours=1))
    address = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    signed = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = directory / "certificate.pem"
    path.write_bytes(secret + signed.public_bytes(Encoding.PEM))
    return path


def paging(service, *paths, pagerduty=True):
    urls = [SecretStr(f"json://127.0.0.1:{service.port}/{path}") for path in paths]
    key = SecretStr("R0UTING") if pagerduty else None
    return Paging(urls=urls, pagerduty_routing_key=key, pagerduty_url=f"https://127.0.0.1:{service.duty.port}")


def send_all(block, note):
    for route in block.routes(note):
        block.send(route, note)


def test_a_page_goes_everywhere(service):
    """Apprise and PagerDuty, with sentence and link; pages about one thing are one incident."""
    send_all(paging(service, "chat"), PAGE)

    (chat_path, chat), (duty_path, duty) = *service.got, *service.duty.got
    assert (chat_path, chat["title"], chat["type"]) == ("/chat", PAGE.title, "failure")
    assert PAGE.body in chat["message"]
    assert PAGE.url in chat["message"]
    assert (duty_path, duty["event_action"], duty["routing_key"]) == ("/v2/enqueue", "trigger", "R0UTING")
    assert duty["dedup_key"] == "postgres-failover on orders"
    assert duty["payload"]["summary"] == PAGE.title
    assert duty["payload"]["severity"] == "critical"
    assert duty["links"][0]["href"] == PAGE.url


def test_information_wakes_nobody(service):
    """PagerDuty gets pages only."""
    block = paging(service, "chat")
    assert len(block.routes(INFORM)) == 1
    send_all(block, INFORM)

    assert ([path for path, _ in service.got], service.duty.got) == (["/chat"], [])


def test_a_recovery_resolves_what_was_paged_about_it(service):
    """The incident closes by itself."""
    send_all(paging(service), RECOVERED)

    assert [(got["event_action"], got["dedup_key"]) for _, got in service.duty.got] == [
        ("resolve", "postgres-failover on orders")
    ]


@pytest.mark.parametrize(("answer", "error"), [(500, Transient), (429, Transient), (403, Misconfigured)])
def test_a_pagerduty_that_does_not_take_it_is_said(service, answer, error):
    """At once, for the outbox tries again."""
    service.duty.answer = answer
    with pytest.raises(error, match="PagerDuty"):
        paging(service).send(PAGERDUTY, PAGE)
    assert len(service.duty.got) <= 2


def test_an_apprise_service_that_does_not_take_it_is_transient(service):
    """Its address is a secret, so only its kind is named."""
    service.answer = 500
    block = paging(service, "secret-path", pagerduty=False)
    with pytest.raises(Transient, match="by json was not taken") as caught:
        send_all(block, PAGE)
    assert "secret-path" not in str(caught.value)


def test_an_apprise_url_that_is_none_is_misconfigured():
    """The sentence does not show it."""
    block = Paging(urls=[SecretStr("nothing://x")])
    with pytest.raises(Misconfigured, match="not valid"):
        send_all(block, PAGE)


def test_nothing_secret_is_shown(service):
    """Neither in a log line, nor in the name of a route, nor in the API's answer."""
    block = paging(service, "secret-path")
    assert "secret-path" not in f"{block!r}{block.routes(PAGE)}{block.model_dump_json()}"
    assert "R0UTING" not in f"{block!r}{block.routes(PAGE)}{block.model_dump_json()}"


def put(book, note=PAGE):
    outbox.put(book, "notification", "r1.end", note.model_dump())


def now_due(book):
    with book.begin() as connection:
        connection.execute(parcels.update().values(due_at=datetime.now(UTC) - timedelta(seconds=1)))


def test_every_route_is_delivered_once(book, service):
    """The outbox is empty afterwards, and stays so."""
    put(book)
    block = paging(service, "chat", "mail")
    deliver_notices(book, block)
    deliver_notices(book, block)

    assert sorted(path for path, _ in service.got + service.duty.got) == ["/chat", "/mail", "/v2/enqueue"]
    assert outbox.undelivered(book) == []


def test_a_broken_route_repeats_nothing_on_the_others(book, service):
    """Only what failed is tried again, and why it failed is kept."""
    other = Service()
    put(book)
    block = paging(service, "chat", pagerduty=False)
    broken = SecretStr(f"json://127.0.0.1:{other.port}/mail")
    block = block.model_copy(update={"urls": [*block.urls, broken]})
    other.answer = 503
    deliver_notices(book, block)
    assert [parcel.last_error for parcel in outbox.undelivered(book)] == ["A notification by json was not taken."]

    other.answer = 200
    now_due(book)
    deliver_notices(book, block)
    other.stop()
    assert (len(service.got), len(other.got), outbox.undelivered(book)) == (1, 2, [])


def test_a_route_that_was_removed_is_said(book, service):
    """The block was edited while a page was waiting."""
    with pytest.raises(Misconfigured, match="no route"):
        paging(service).send("slack-12345678", PAGE)


def test_without_a_paging_block_the_ledger_says_that_nobody_was_told(book, prefect_server):
    """A recovery needs no paging; the parcel does not wait for ever."""
    put(book)

    assert deliver_notices(book) == 1
    assert outbox.undelivered(book) == []
    with book.read() as connection:
        assert "nobody was told" in connection.execute(parcels.select()).one().last_error


def test_the_saved_block_is_used(book, service, prefect_server):
    """`paging` is its name."""
    paging(service, "chat").save("paging", overwrite=True)
    put(book)
    deliver_notices(book)
    Paging.delete("paging")

    assert sorted(path for path, _ in service.got + service.duty.got) == ["/chat", "/v2/enqueue"]


def test_people_are_told_while_prefect_is_down(book, service, prefect_server):
    """The block that was loaded before is used: that is when people must be told."""
    paging(service, "chat", pagerduty=False).save("paging", overwrite=True)
    remember_paging()
    put(book)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        deliver_notices(book)
    Paging.delete("paging")
    remember_paging()

    assert [path for path, _ in service.got] == ["/chat"]


def test_without_prefect_a_page_waits(book, service, prefect_server):
    """Nobody knows yet whom to tell; the reason is kept."""
    remember_paging()
    put(book)
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_CLIENT_MAX_RETRIES: 0}):
        remember_paging()
        deliver_notices(book)

    assert "`paging` could not be loaded" in outbox.undelivered(book)[0].last_error


def test_a_parcel_that_makes_no_sense_does_not_stop_the_others(book, service):
    """It is kept with its error; the next one goes out."""
    outbox.put(book, "notification", "nonsense", {"urgency": "never"})
    put(book)
    deliver_notices(book, paging(service, "chat", pagerduty=False))

    assert len(service.got) == 1
    assert [parcel.key for parcel in outbox.undelivered(book)] == ["nonsense"]
