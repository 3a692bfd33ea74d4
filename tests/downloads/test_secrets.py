"""What opens a server, a password or a token, is sent to it and shown to nobody."""

import re
import socket
from functools import partial

import pytest

from common.errors import UserError
from inference.download_weights import download_weights
from tests.downloads.server import cut_off_after, serve, unavailable

download = partial(download_weights, pause_s=0)


SECRET_URLS = {
    "user and password": lambda url: url.replace("//", "//me:hush-hush@"),
    "token in the query": lambda url: f"{url}/?sig=hush-hush&sp=r",
    "both": lambda url: f"{url.replace('//', '//hush-hush@')}?hush-hush",
}
CUT_OFF = cut_off_after(300_000)


def redirect_to(target):
    return lambda handler, _: handler.send(302, b"", Location=target)


def test_user_and_password_are_sent_and_not_printed(server, weights, sound, capfd):
    def authorized(handler, content):
        assert handler.headers["Authorization"] == "Basic bWU6aHVzaC1odXNo"
        serve(handler, content)

    server.files = {"one": sound}
    server.script = [CUT_OFF, authorized]
    assert download(["one"], weights, SECRET_URLS["user and password"](server.url)) == (1, 0)
    printed = "".join(capfd.readouterr())
    assert "one: downloaded" in printed and "trying again" in printed and "hush" not in printed


def test_query_stays_behind_the_name_and_is_not_printed(server, weights, sound, capfd):
    server.files = {"folder/one?sig=hush-hush&sp=r": sound}
    assert download(["one"], weights, f"{server.url}/folder/?sig=hush-hush&sp=r") == (1, 0)
    assert server.asked == [("folder/one?sig=hush-hush&sp=r", None)]
    printed = "".join(capfd.readouterr())
    assert "one: downloaded" in printed and "hush" not in printed


@pytest.mark.parametrize("secret", SECRET_URLS)
@pytest.mark.parametrize(
    ("script", "names"),
    [
        ([], ["one"]),
        ([unavailable] * 3, ["one"]),
        ([CUT_OFF] * 3, ["sound"]),
        ([redirect_to("hdd://elsewhere/one?sig=hush-hush")], ["one"]),
        ([redirect_to("http://me:hush-hush@[elsewhere/one?sig=hush-hush")], ["one"]),
        ([], ["../one"]),
    ],
    ids=["404", "503", "cut off", "redirected to nowhere", "redirected to no URL", "refused name"],
)
def test_no_failure_shows_what_opens_the_server(server, weights, sound, secret, script, names, capfd):
    server.files, server.script = {"sound": sound}, list(script)
    with pytest.raises(UserError) as caught:
        download(names, weights, SECRET_URLS[secret](server.url))
    assert "hush" not in f"{caught.value}{capfd.readouterr()}" and "***" in str(caught.value)


@pytest.mark.parametrize("secret", SECRET_URLS)
def test_advice_without_a_network_does_not_show_what_opens_the_server(weights, secret):
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        url = f"http://127.0.0.1:{closed_soon.getsockname()[1]}"
    with pytest.raises(UserError) as caught:
        download(["one"], weights, SECRET_URLS[secret](url))
    assert "hush" not in str(caught.value) and "***" in str(caught.value)


@pytest.mark.parametrize(
    "url", ["ftp://me:hush@h", "me:hush@h/x", "http://me:hush@[h", "http://h:hush@", "http://me:hu/sh@h"]
)
def test_url_that_is_refused_is_shown_without_its_password(weights, url):
    with pytest.raises(UserError) as caught:
        download(["one"], weights, url)
    assert not re.search("hush|hu/|sh@", str(caught.value)) and "***@" in str(caught.value)
