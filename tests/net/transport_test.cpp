#include "tests/net/scripted_server.h"

#include <doctest/doctest.h>

#include <cstdlib>

using namespace templar;

namespace {

// A script that answers every request with these bytes, and ends the connection after `last` of them.
std::function<void(Peer&)> answering(std::string answer, int last = 1'000'000) {
    return [=](Peer& peer) {
        for (int i = 0; i < last && !peer.read_request().empty(); ++i) peer.send(answer);
    };
}

std::string ok_with(std::string_view body) {
    return fmt::format("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
}

std::string chunk(std::string_view data) {
    return fmt::format("{:x}\r\n{}\r\n", data.size(), data);
}

const std::string chunked_head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";

// What is believed of one answer to a GET into five bytes.
HttpResponse get_five(const std::string& answer, Bytes& five, bool reset = false) {
    ScriptedServer server([&](Peer& peer) {
        if (peer.read_request().empty()) return;
        peer.send(answer);
        if (reset) peer.reset_at_end();
        if (reset) peer.pause(50);
    });
    Transport transport(local);
    five.assign(5, '.');
    HttpRequest request = request_of("GET", server.url());
    request.into = five;
    return transport.perform(request);
}

}  // namespace

TEST_CASE("transport: a body fills its span exactly, or it is a fault") {
    struct Case {
        std::string answer;
        NetFault fault;
        std::string detail;
        bool reset = false;
    };
    const std::string head = "HTTP/1.1 200 OK\r\n";
    std::string many, large, endless;
    for (int i = 0; i < 65; ++i) many += fmt::format("X-{}: 1\r\n", i);
    for (int i = 0; i < 9; ++i) large += fmt::format("X-{}: {}\r\n", i, std::string(2000, 'x'));
    for (int i = 0; i < 1000; ++i) endless += "HTTP/1.1 100 Continue\r\n\r\n";
    // "hello" in gzip.
    const Bytes zipped = from_hex("1f8b0800000000000203cb48cdc9c9070086a6103605000000", 25, "gzip");
    const std::vector<Case> cases{
        {ok_with("hello"), NetFault::none, ""},
        {"HTTP/1.1 206 Partial\r\nContent-Length: 5\r\n\r\nhello", NetFault::none, ""},
        {chunked_head + chunk("he") + chunk("llo") + chunk(""), NetFault::none, ""},
        {chunked_head + chunk("hello") + "0\r\nX-Trailer: 1\r\n\r\n", NetFault::none, ""},
        {head + "\r\nhello", NetFault::none, ""},
        {head + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", NetFault::none, ""},
        {ok_with("hello!"), NetFault::too_long, "expected 5 bytes, announced 6"},
        {ok_with("hell"), NetFault::broken, "expected 5 bytes, announced 4"},
        {chunked_head + chunk("hello!") + chunk(""), NetFault::too_long, "received more"},
        {chunked_head + chunk("hello") + chunk("!"), NetFault::too_long, "received more"},
        {chunked_head + chunk("hell") + chunk(""), NetFault::broken, "expected 5 bytes, received 4"},
        {chunked_head + chunk("hello"), NetFault::broken, ""},
        {chunked_head + "fffffffffffffffff\r\nhello", NetFault::broken, ""},
        {head + "\r\nhello!", NetFault::too_long, "received more"},
        {head + "\r\nhel", NetFault::broken, "expected 5 bytes, received 3"},
        {head + "Content-Length: 5\r\n\r\nhel", NetFault::broken, ""},
        {head + "Content-Length: 5\r\n\r\nhel", NetFault::broken, "", true},
        {head + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello", NetFault::broken, "Content-Length"},
        {head + "Content-Length: -5\r\n\r\nhello", NetFault::broken, ""},
        {head + "Content-Length: 5x\r\n\r\nhello", NetFault::broken, "Content-Length"},
        {head + "Content-Length: 99999999999999999999999\r\n\r\nhello", NetFault::broken, ""},
        {head + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunk(as_text(zipped)) + chunk(""),
         NetFault::broken, "encoding"},
        {head + "Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip\r\n\r\n" + chunk(as_text(zipped)) +
             chunk(""),
         NetFault::broken, "encoding"},
        {head + many + "Content-Length: 5\r\n\r\nhello", NetFault::broken, "more than 64 headers"},
        {head + large + "Content-Length: 5\r\n\r\nhello", NetFault::broken, "bytes of headers"},
        {head + "X: " + std::string(300'000, 'x'), NetFault::broken, ""},
        {endless, NetFault::broken, "bytes of headers"},
        {head + "no colon here\r\n\r\nhello", NetFault::broken, ""},
        {head + "X: 1\r\n folded: 2\r\n\r\nhello", NetFault::broken, "without a name"},
        {"SSH-2.0-OpenSSH_9.2\r\n", NetFault::broken, ""},
        {"hello", NetFault::broken, ""},
        {"HTTP/1.1 2", NetFault::broken, ""},
        {"", NetFault::broken, ""},
        {"", NetFault::broken, "", true},
    };
    for (const Case& test : cases) {
        INFO("answer: " << test.answer.substr(0, 100));
        Bytes five;
        const HttpResponse response = get_five(test.answer, five, test.reset);
        INFO("detail: " << response.detail);
        CHECK(net_fault_name(response.fault) == net_fault_name(test.fault));
        CHECK(response.detail.find(test.detail) != std::string::npos);
        CHECK(response.detail.empty() == (test.fault == NetFault::none));
        CHECK(response.into_bytes <= 5);
        CHECK(response.body.empty());
        CHECK(response.header("x-trailer").empty());
        if (test.fault == NetFault::none) CHECK(as_text(five) == "hello");
    }
}

TEST_CASE("transport: an announced surplus is refused before the body comes") {
    ScriptedServer server([](Peer& peer) {
        peer.read_request();
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n");
        peer.wait_for_end();
    });
    Transport transport(local);
    Bytes bytes(1000);
    HttpRequest request = request_of("GET", server.url());
    request.into = bytes;
    CHECK(transport.perform(request).fault == NetFault::too_long);
    request.into = {};
    CHECK(transport.perform(request).fault == NetFault::too_long);
}

TEST_CASE("transport: informational answers are passed over") {
    ScriptedServer server(
        answering("HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
                  "HTTP/1.1 200 OK\r\nETag: \"a\"\r\nX-Empty:\r\nContent-Length: 2\r\n\r\nok"));
    Transport transport(local);
    for (int i = 0; i < 2; ++i) {
        const HttpResponse response = transport.perform(request_of("GET", server.url()));
        CHECK(response.fault == NetFault::none);
        CHECK(response.status == 200);
        CHECK(response.headers == HttpHeaders{{"etag", "\"a\""}, {"x-empty", ""}, {"content-length", "2"}});
        CHECK(response.header("etag") == "\"a\"");
        CHECK(response.header("link").empty());
        CHECK(response.body == "ok");
    }
}

TEST_CASE("transport: the body of an error is kept, as far as is allowed, and never goes to the span") {
    const std::string text(5000, 'e');
    const std::string heads[] = {"HTTP/1.1 404 Not Found\r\nContent-Length: 5000\r\n\r\n",
                                 "HTTP/1.1 503 Slow Down\r\n\r\n"};
    for (const std::string& head : heads) {
        ScriptedServer server(answering(head + text, 1));
        Transport transport(local);
        Bytes bytes(5000, '.');
        HttpRequest request = request_of("GET", server.url());
        request.into = bytes;
        HttpResponse response = transport.perform(request);
        CHECK(response.fault == NetFault::none);
        CHECK(response.status >= 404);
        CHECK(response.body == text);
        CHECK(response.into_bytes == 0);
        CHECK(bytes == Bytes(5000, '.'));
        request.max_body = 300;
        response = transport.perform(request);
        CHECK(response.fault == NetFault::none);
        CHECK(response.status >= 404);
        CHECK(response.body == text.substr(0, 300));
    }
    ScriptedServer server(answering(chunked_head + chunk(text) + chunk("")));
    Transport transport(local);
    HttpRequest request = request_of("GET", server.url());
    request.max_body = 4999;
    CHECK(transport.perform(request).fault == NetFault::too_long);
    request.max_body = 5000;
    CHECK(transport.perform(request).body == text);
}

TEST_CASE("transport: requests are sent byte for byte") {
    std::mutex mutex;
    std::string seen;
    ScriptedServer server([&](Peer& peer) {
        for (std::string request; !(request = peer.read_request()).empty();) {
            {
                std::lock_guard lock(mutex);
                seen = request;
            }
            peer.send(request.starts_with("HEAD") ? "HTTP/1.1 200 OK\r\nContent-Length: 123456789\r\n\r\n"
                                                  : "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    Transport transport(local);
    const std::string host = fmt::format("Host: 127.0.0.1:{}\r\nAccept: */*\r\n", server.port());
    const std::string body = "a=1&b=2";
    struct Case {
        std::string method, path;
        HttpHeaders headers;
        std::string body, sent;
    };
    const std::vector<Case> cases{
        {"GET", "/b/a/../b//c%41/./%c3%a9?x=%2f&y", {}, "", "GET {}HTTP/1.1\r\n" + host + "\r\n"},
        {"GET",
         "/",
         {{"Range", "bytes=0-4"}, {"X-Empty", ""}},
         "",
         "GET {}HTTP/1.1\r\n" + host + "Range: bytes=0-4\r\nX-Empty:\r\n\r\n"},
        {"HEAD", "/k", {}, "", "HEAD {}HTTP/1.1\r\n" + host + "\r\n"},
        {"DELETE", "/k", {}, "not sent", "DELETE {}HTTP/1.1\r\n" + host + "\r\n"},
        {"PUT",
         "/k",
         {{"If-None-Match", "*"}},
         body,
         "PUT {}HTTP/1.1\r\n" + host + "If-None-Match: *\r\nContent-Length: 7\r\n\r\n" + body},
        {"PUT", "/k", {}, "", "PUT {}HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n"},
        {"POST", "/k?uploads=", {}, "", "POST {}HTTP/1.1\r\n" + host + "Content-Length: 0\r\n\r\n"},
        {"POST",
         "/k?uploadId=1",
         {{"Content-Type", "text/xml"}},
         body,
         "POST {}HTTP/1.1\r\n" + host + "Content-Type: text/xml\r\nContent-Length: 7\r\n\r\n" + body},
    };
    for (const Case& test : cases) {
        HttpRequest request = request_of(test.method, server.url(test.path));
        request.headers = test.headers;
        request.body = as_bytes(test.body);
        const HttpResponse response = transport.perform(request);
        INFO("detail: " << response.detail);
        CHECK(response.fault == NetFault::none);
        CHECK(response.status == 200);
        if (test.method == "HEAD") CHECK(response.header("content-length") == "123456789");
        std::lock_guard lock(mutex);
        CHECK(seen == fmt::format(fmt::runtime(test.sent), test.path + " "));
    }
    CHECK(server.accepted() == 3);  // each POST has a connection of its own: it must not be sent twice

    // Long enough for libcurl to ask first, if it were let.
    std::string large(2 << 20, '\0');
    for (size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>(i * 2654435761u >> 24);
    HttpRequest request = request_of("PUT", server.url("/large"));
    request.body = as_bytes(large);
    CHECK(transport.perform(request).status == 200);
    CHECK(seen ==
          fmt::format("PUT /large HTTP/1.1\r\n{}Content-Length: {}\r\n\r\n{}", host, large.size(), large));
}

TEST_CASE("transport: no redirect, no proxy") {
    ScriptedServer other(answering(ok_with("other")));
    ScriptedServer server(answering(
        fmt::format("HTTP/1.1 302 Found\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n", other.url("/x"))));
    const std::string proxy = other.url("");
    for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) setenv(name, proxy.c_str(), 1);
    Transport transport(local);
    const HttpResponse response = transport.perform(request_of("GET", server.url()));
    for (const char* name : {"http_proxy", "all_proxy", "ALL_PROXY"}) unsetenv(name);
    CHECK(response.status == 302);
    CHECK(response.header("location") == other.url("/x"));
    CHECK(server.accepted() == 1);
    CHECK(other.accepted() == 0);
}

TEST_CASE("transport: connections are kept, and no more are opened than allowed") {
    ScriptedServer server([](Peer& peer) {
        while (!peer.read_request().empty()) {
            peer.pause(10);
            peer.send(ok_with("hello"));
        }
    });
    SUBCASE("one after the other") {
        Transport transport(local);
        for (int i = 0; i < 50; ++i)
            CHECK(transport.perform(request_of(i % 2 ? "PUT" : "GET", server.url())).status == 200);
        CHECK(server.accepted() == 1);
    }
    SUBCASE("at once, twice") {
        Transport::Rules rules = local;
        rules.max_connections = 6;
        Transport transport(rules);
        for (int round = 0; round < 2; ++round) {
            std::vector<std::unique_ptr<Exchange>> exchanges;
            for (int i = 0; i < 16; ++i)
                exchanges.push_back(transport.start(request_of("GET", server.url())));
            for (auto& exchange : exchanges) {
                CHECK(exchange->wait(in_ms(10'000)));
                CHECK(exchange->response().body == "hello");
            }
            CHECK(server.accepted() <= 6);
            CHECK(server.accepted() >= 2);
        }
    }
    SUBCASE("idle ones make room for another host") {
        ScriptedServer other(answering(ok_with("other")));
        Transport::Rules rules = local;
        rules.max_connections = 1;
        Transport transport(rules);
        for (int i = 0; i < 3; ++i) {
            CHECK(transport.perform(request_of("GET", server.url())).body == "hello");
            CHECK(transport.perform(request_of("GET", other.url())).body == "other");
        }
        CHECK(server.accepted() == 3);
        CHECK(other.accepted() == 3);
    }
    CHECK(server.most_open() <= 6);
}

TEST_CASE("transport: waiting for a connection counts for the deadline") {
    ScriptedServer server([](Peer& peer) { peer.wait_for_end(); });
    Transport::Rules rules = local;
    rules.max_connections = 1;
    Transport transport(rules);
    const auto first = transport.start(request_of("GET", server.url()));
    HttpRequest request = request_of("GET", server.url());
    request.deadline = in_ms(100);
    const HttpResponse response = transport.perform(request);
    CHECK(response.fault == NetFault::deadline);
    CHECK(response.detail == "waited for a free connection");
    CHECK(!first->ended());
}

TEST_CASE("transport: an upload that a dead connection swallowed is sent again, and says so") {
    std::atomic<int> connections{0};
    ScriptedServer server([&](Peer& peer) {
        const bool first = ++connections == 1;
        for (int i = 0; !peer.read_request().empty() && !(first && i == 1); ++i) peer.send(ok_with("fine"));
    });
    Transport transport(local);
    const std::string body(100'000, 'b');
    HttpRequest request = request_of("PUT", server.url());
    request.body = as_bytes(body);
    CHECK(!transport.perform(request).resent);
    const HttpResponse response = transport.perform(request);
    CHECK(response.fault == NetFault::none);
    CHECK(response.body == "fine");
    CHECK(response.resent);
    CHECK(server.accepted() == 2);
}

TEST_CASE("transport: headers can be read while the body is on its way") {
    std::atomic<bool> go_on{false};
    ScriptedServer server([&](Peer& peer) {
        peer.read_request();
        peer.send("HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 10\r\n\r\nhello");
        while (!go_on) peer.pause(2);
        peer.send("world");
    });
    Transport transport(local);
    Bytes bytes(10);
    HttpRequest request = request_of("GET", server.url());
    request.into = bytes;
    const auto exchange = transport.start(request);
    CHECK(exchange->wait_headers(in_ms(10'000)));
    CHECK(exchange->response().status == 200);
    CHECK(exchange->response().header("etag") == "\"e\"");
    CHECK(!exchange->wait(in_ms(20)));
    CHECK(!exchange->ended());
    go_on = true;
    CHECK(exchange->wait(in_ms(10'000)));
    CHECK(exchange->response().fault == NetFault::none);
    CHECK(as_text(bytes) == "helloworld");
}
