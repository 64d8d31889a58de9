"""Addresses: read once and strictly, and which machines behind them may be asked."""

import ipaddress

import pytest

from ingest.fetching.addresses import is_address, join, parse_address
from ingest.fetching.guard import refused_kind
from ingest.sources import shown
from search_app.errors import SourceError


@pytest.mark.parametrize(
    ("typed", "uri"),
    [
        ("HTTPS://Example.COM:443/a/../b#part", "https://example.com/b"),
        ("http://example.com", "http://example.com/"),
        ("http://example.com.:8080/?q=1", "http://example.com:8080/?q=1"),
        ("http://例え.テスト/あ?い", "http://xn--r8jz45g.xn--zckzah/%E3%81%82?%E3%81%84"),
        ("http://example.com/%e6%97%a5", "http://example.com/%E6%97%A5"),
        ("http://my_host/", "http://my_host/"),
        ("http://[0:0::1]:8000/x", "http://[::1]:8000/x"),
        # Full-width digits are digits to whoever resolves the name.
        ("http://１２７.０.０.１/", "http://127.0.0.1/"),
    ],
)
def test_an_address_has_one_normal_form(typed: str, uri: str) -> None:
    assert parse_address(typed).uri == uri
    assert parse_address(uri).uri == uri


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ("ftp://example.com/", "only addresses of http"),
        ("file:///etc/passwd", "only addresses of http"),
        ("http://", "no name of a host"),
        ("http:///path", "no name of a host"),
        ("http://a..b/", "no name of a host"),
        ("http://exa%6dple.com/", "no name of a host"),
        ("http://example.com:0/", "no port 0"),
        ("http://example.com:99999/", "its port is no number"),
        ("http://exa mple.com/", "has a space at 11"),
        ("http://example.com\\@evil.example/", "has a backslash"),
        ("http://example.com/\r\nHost:evil", "has a space"),
        ("http://2130706433/", "must be an IPv4 address"),
        ("http://0x7f000001/", "must be an IPv4 address"),
        ("http://0177.0.0.1/", "must be an IPv4 address"),
        ("http://127.1/", "must be an IPv4 address"),
        ("http://[fe80::1%25eth0]/", "must not name an interface"),
        ("http://[::zz]/", "no address"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(typed: str, reason: str) -> None:
    assert is_address(typed)
    with pytest.raises(SourceError, match=reason):
        parse_address(typed)


def test_a_password_is_refused_and_not_repeated() -> None:
    with pytest.raises(SourceError, match="name or password") as refused:
        parse_address("https://me:hunter2@example.com/page")
    assert "hunter2" not in str(refused.value)
    assert refused.value.source == "https://…@example.com/page"


@pytest.mark.parametrize(
    "typed",
    [
        "http://me:hunter2@example.com:99999/",
        "http://me:hunter2@exa mple.com/",
        "ftp://me:hunter2@example.com/",
        "http://me:hunter2@example.com:0/",
        "http://me:hunter2@[::zz/",
        "http://me:hunter2@ex℀mple.com/",
        "http://me:hun/hunter2@example.com/",
    ],
)
def test_a_password_is_not_repeated_whatever_else_is_wrong(typed: str) -> None:
    with pytest.raises(SourceError) as refused:
        parse_address(typed)
    assert "hun" not in str(refused.value)
    assert "hun" not in shown(typed)


def test_an_at_sign_behind_the_host_is_shown() -> None:
    assert shown("https://social.example:8443/@me") == "https://social.example:8443/@me"


def test_a_redirect_may_be_relative_but_leads_nowhere_else() -> None:
    base = parse_address("https://example.com/a/b?q")
    assert join(base, "../c d").uri == "https://example.com/c%20d"
    assert join(base, "//other.example/x").uri == "https://other.example/x"
    with pytest.raises(SourceError, match="only addresses"):
        join(base, "file:///etc/passwd")


PRIVATE = ["127.0.0.1", "127.8.8.8", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1"]
PRIVATE_6 = ["::1", "fd12::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1"]
NEVER = ["0.0.0.0", "169.254.169.254", "169.254.1.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"]
NEVER_6 = ["::", "fe80::1", "ff02::1", "2002:7f00:1::", "2001::1", "::7f00:1", "fec0::1"]
METADATA = ["100.100.100.200", "fd00:ec2::254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe"]
SPECIAL = ["192.0.0.8", "192.0.2.1", "198.18.0.1", "2001:db8::1", "3fff::1", "64:ff9b:1::1"]
PUBLIC = ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("ip", [*PRIVATE, *PRIVATE_6])
def test_machines_inside_are_asked_only_where_that_is_allowed(ip: str) -> None:
    assert refused_kind(ipaddress.ip_address(ip), private=False) in ("loopback", "private")
    assert refused_kind(ipaddress.ip_address(ip), private=True) is None


@pytest.mark.parametrize("ip", [*NEVER, *NEVER_6, *METADATA, *SPECIAL])
def test_some_machines_are_never_asked(ip: str) -> None:
    assert refused_kind(ipaddress.ip_address(ip), private=False) is not None
    assert refused_kind(ipaddress.ip_address(ip), private=True) is not None


@pytest.mark.parametrize("ip", PUBLIC)
def test_machines_of_the_public_internet_may_be_asked(ip: str) -> None:
    assert refused_kind(ipaddress.ip_address(ip), private=False) is None
