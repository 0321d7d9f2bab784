# SPDX-License-Identifier: Apache-2.0
"""JPIP requests as clients send them, replayed (spec/jpip.md 13)."""
import jpip_client as jc
from test_jpip import decode, decoded, pictures  # noqa: F401
from test_jpip_channels import CID, jpip, opened  # noqa: F401


def test_jhelioviewer(jpip, pictures, folder):  # noqa: F811
    """Its five requests over one socket, read by its strict reader."""
    s = jpip("JPIPLinkRoot " + pictures)
    sock, c = s.connect().sock, jc.Cache()

    def ask(target):
        sock.sendall(("GET %s HTTP/1.1\r\nUser-Agent: JHV/SWHV-2.9\r\nConnection: keep-alive\r\nAccept-Encoding: gzip\r\n"
                      "Cache-Control: no-cache\r\nHost: 127.0.0.1:%d\r\n\r\n" % (target, s.port)).encode())
        headers, body = jc.strict_head(sock)
        assert headers["Content-Type"] == "image/jpp-stream"
        return headers, c.take(body)[1]

    headers, _ = ask("/j/embedded.jpx?cnew=http&type=jpp-stream&tid=0&len=512")
    cid, path = CID.fullmatch(headers["JPIP-cnew"]).groups()
    assert headers["JPIP-tid"]
    while ask("/%s?stream=0&metareq=[*]!!&len=2000000&cid=%s" % (path, cid))[1] not in (1, 2):
        pass
    assert c.complete(8, 0) and c.complete(8, 1)
    while ask("/%s?stream=0&fsiz=64,64,closest&rsiz=64,64&roff=0,0&len=2097152&cid=%s" % (path, cid))[1] not in (1, 2):
        pass
    for n in range(6):
        _, reason = ask("/%s?stream=%d&fsiz=96,80,closest&rsiz=96,80&roff=0,0&len=2097152&cid=%s" % (path, n, cid))
        assert reason in (1, 2)
        assert decoded(c, folder, number=n) == decode("%s/frames/%d.jp2" % (pictures, n % 4))
    assert ask("/%s?context=jpxl<0-5>&fsiz=96,80,closest&rsiz=96,80&roff=0,0&len=2097152&cid=%s" % (path, cid))[1] in (1, 2)
    assert c.doubled == 0
    ask("/%s?cclose=%s&len=0" % (path, cid))
    assert s.get("/%s?cid=%s&len=0" % (path, cid)).status == 503


def test_webjpip(jpip):  # noqa: F811
    """The first answer has the whole main header within 10240 bytes; then len doubles until the end."""
    s, c = jpip(), jc.Cache()
    r = s.get("/j?target=boxes.jp2&type=jpp-stream&stream=0&len=10240&qid=1&cnew=http&tid=0")
    cid, path = opened(r)
    c.take(r.body)
    assert c.complete(jc.MAIN)
    n, tid = 10240, r["JPIP-tid"]
    while True:
        r = s.get("%s?target=boxes.jp2&tid=%s&wait=yes&cid=%s&type=jpp-stream&fsiz=96,80&roff=0,0&rsiz=96,80&stream=0&len=%d" % (
            path, tid, cid, n))
        assert r["JPIP-tid"] == tid
        if c.take(r.body)[1] in (1, 2, 5):
            break
        n *= 2
    assert c.doubled == 0
    assert s.get("%s?cclose=*&cid=%s" % (path, cid)).status == 200


def test_kakadu(jpip, pictures, folder):  # noqa: F811
    """Fields of Kakadu's client all at once: several transports, qid in order, preferences, quantities in metareq, a window
    in pieces, the cache told by model after the channel is lost."""
    s, c = jpip(), jc.Cache()
    size = "fsiz=187,141,closest&roff=0,0&rsiz=187,141&comps=0-2&stream=0&layers=3"
    r = s.get("/j?target=rpcl-whole-plt.jp2&tid=0&qid=1&cnew=http-tcp,http&type=jpp-stream,jpt-stream&%s&len=2000&"
              "metareq=[roid/w;asoc/w;nlst/w:1024]!!,[jp2h:r/s!]R0D2&pref=color-ict,bandwidth:0/r&cap=vbas,windows&srate=0".replace("!!,", ",") % size)
    cid, path = opened(r)
    assert r["JPIP-qid"] == "1" and len(r["JPIP-tid"]) == 16
    assert c.take(r.body)[1] == 4 and len(r.body) <= 2003
    for n in range(2, 8):
        r = s.get("%s?cid=%s&qid=%d&wait=no&%s&len=%d" % (path, cid, n, size, 2000 * n))
        assert r["JPIP-qid"] == str(n) and r["Content-Type"] == "image/jpp-stream"
        c.take(r.body)
    assert s.get("%s?cid=%s&cclose=*&len=1" % (path, cid)).status == 200
    r = s.request("POST", "/j", None, ("target=rpcl-whole-plt.jp2&cnew=http&type=jpp-stream&%s&model=%s" % (size, c.model())).encode())
    opened(r)
    assert c.take(r.body)[1] in (1, 2) and c.doubled == 0
    assert decoded(c, folder) == decode(pictures + "/rpcl-whole-plt.jp2")
