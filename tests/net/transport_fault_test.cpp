// A transport against peers that are slow, silent, elsewhere or gone.
#include "tests/net/scripted_server.h"

#include <doctest/doctest.h>

using namespace templar;

namespace {

void answer_all(Peer& peer) {
    while (!peer.read_request().empty()) peer.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
}

void send_slowly(Peer& peer, std::string_view text, int pause_ms) {
    for (const char c : text) {
        if (!peer.send({&c, 1})) return;
        peer.pause(pause_ms);
    }
}

}  // namespace

TEST_CASE("transport: silence and slowness end a request, the deadline before both") {
    struct Case {
        std::string what;
        std::function<void(Peer&)> script;
        int64_t deadline_ms, min_bytes_per_s;
        NetFault fault;
        std::string detail;
    };
    const std::string head = "HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n";
    const auto body_drips = [=](Peer& peer) {
        peer.read_request();
        peer.send(head);
        send_slowly(peer, std::string(100'000, 'x'), 10);
    };
    const std::vector<Case> cases{
        {"accepts and is silent", [](Peer& peer) { peer.hold(); }, 10'000, 0, NetFault::stalled,
         "waited for the answer"},
        {"reads and is silent", [](Peer& peer) { peer.wait_for_end(); }, 10'000, 0, NetFault::stalled,
         "waited for the answer"},
        {"silent after the headers",
         [=](Peer& peer) {
             peer.read_request();
             peer.send(head);
             peer.hold();
         },
         10'000, 0, NetFault::stalled, "had received 0 bytes"},
        {"headers drip",
         [=](Peer& peer) {
             peer.read_request();
             send_slowly(peer, head + std::string(100'000, 'x'), 10);
         },
         10'000, 0, NetFault::stalled, "waited for the answer"},
        {"body drips", body_drips, 10'000, 1000, NetFault::stalled, "had received"},
        {"body drips, nothing is asked", body_drips, 700, 0, NetFault::deadline, "had received"},
        {"silent", [](Peer& peer) { peer.hold(); }, 50, 0, NetFault::deadline, ""},
    };
    std::vector<std::unique_ptr<ScriptedServer>> servers;
    std::vector<std::unique_ptr<Exchange>> exchanges;
    Transport transport(local);
    const SteadyTime start = std::chrono::steady_clock::now();
    for (const Case& test : cases) {
        servers.push_back(std::make_unique<ScriptedServer>(test.script));
        HttpRequest request = request_of("GET", servers.back()->url());
        request.deadline = in_ms(test.deadline_ms);
        request.max_body = 1 << 20;
        request.stall_ms = 300;
        request.min_bytes_per_s = test.min_bytes_per_s;
        exchanges.push_back(transport.start(request));
    }
    // The end of an upload is the begin of the wait for its answer.
    ScriptedServer reading([](Peer& peer) { peer.wait_for_end(); });
    const Bytes body(1000);
    HttpRequest upload = request_of("PUT", reading.url());
    upload.body = body;
    upload.stall_ms = 300;
    CHECK(transport.perform(upload).detail == "waited for the answer");
    for (size_t i = 0; i < cases.size(); ++i) {
        INFO(cases[i].what);
        CHECK(exchanges[i]->wait(in_ms(10'000)));
        const HttpResponse& response = exchanges[i]->response();
        CHECK(net_fault_name(response.fault) == net_fault_name(cases[i].fault));
        CHECK(response.detail.find(cases[i].detail) != std::string::npos);
    }
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::milliseconds(5000));
}

TEST_CASE("transport: a slow start and a pause within the window are no fault") {
    ScriptedServer server([](Peer& peer) {
        peer.read_request();
        peer.pause(150);
        peer.send("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n");
        for (int i = 0; i < 4; ++i) {
            peer.pause(150);
            peer.send("0123456789");
        }
    });
    Transport transport(local);
    HttpRequest request = request_of("GET", server.url());
    request.stall_ms = 600;
    request.min_bytes_per_s = 10;
    const HttpResponse response = transport.perform(request);
    CHECK(response.fault == NetFault::none);
    CHECK(response.body.size() == 40);
}

TEST_CASE("transport: an upload that nobody reads is stalled, one that is read slowly is not") {
    const Bytes body(24 << 20, 'u');
    Transport transport(local);
    HttpRequest request = request_of("PUT", "");
    request.body = body;
    request.stall_ms = 400;
    {
        ScriptedServer server([](Peer& peer) { peer.hold(); });
        request.url = server.url();
        const HttpResponse response = transport.perform(request);
        CHECK(response.fault == NetFault::stalled);
        CHECK(response.detail.find("had sent") != std::string::npos);
    }
    // What the kernel has taken from us is not yet what the peer has: megabytes could wait in it for longer
    // than stall_ms.
    const auto read_all = [](Peer& peer) {
        if (peer.read_slowly(4 << 20, 256 << 10, 80))
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    };
    ScriptedServer slow(read_all, AF_INET, 0, 64 << 10);
    request.url = slow.url();
    request.body = ByteSpan(body).first(4 << 20);
    request.stall_ms = 800;
    const HttpResponse response = transport.perform(request);
    INFO("detail: " << response.detail);
    CHECK(response.fault == NetFault::none);
    CHECK(response.status == 200);
}

TEST_CASE("transport: an answer before the end of the upload counts") {
    ScriptedServer server([](Peer& peer) {
        peer.send("HTTP/1.1 403 Forbidden\r\nConnection: close\r\nContent-Length: 4\r\n\r\nno!\n");
        peer.wait_for_end();
    });
    const Bytes body(16 << 20, 'u');
    Transport transport(local);
    HttpRequest request = request_of("PUT", server.url());
    request.body = body;
    const HttpResponse response = transport.perform(request);
    INFO("detail: " << response.detail);
    CHECK(response.fault == NetFault::none);
    CHECK(response.status == 403);
    CHECK(response.body == "no!\n");
}

TEST_CASE("transport: a request can be cancelled at any time") {
    ScriptedServer server([](Peer& peer) {
        if (peer.read_request().starts_with("GET /half"))
            peer.send("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf");
        peer.wait_for_end();
    });
    Transport::Rules rules = local;
    rules.max_connections = 2;
    auto transport = std::make_unique<Transport>(rules);

    SUBCASE("by letting go of it: stalled, receiving, waiting for its turn") {
        Bytes bytes(1000);
        HttpRequest request = request_of("GET", server.url("/half"));
        request.into = bytes;
        for (int i = 0; i < 20; ++i) {
            auto half = transport->start(request);
            auto silent = transport->start(request_of("GET", server.url("/silent")));
            auto queued = transport->start(request_of("GET", server.url("/queued")));
            if (i % 2) CHECK(half->wait_headers(in_ms(10'000)));
            if (i % 3) silent.reset();
        }
    }
    SUBCASE("from another thread, while a third request is performed with a stop flag") {
        std::atomic<bool> stop{false};
        auto exchange = transport->start(request_of("GET", server.url("/silent")));
        std::thread other([&] {
            CHECK(!exchange->wait(in_ms(30)));
            exchange.reset();
            stop = true;
        });
        const HttpResponse response = transport->perform(request_of("GET", server.url("/half")), &stop);
        other.join();
        CHECK(response.fault == NetFault::cancelled);
        CHECK(transport->perform(request_of("GET", server.url()), &stop).fault == NetFault::cancelled);
    }
    SUBCASE("by the end of the transport, which exchanges may outlive") {
        std::vector<std::unique_ptr<Exchange>> exchanges;
        for (int i = 0; i < 6; ++i)
            exchanges.push_back(transport->start(request_of("GET", server.url("/half"))));
        CHECK(exchanges[0]->wait_headers(in_ms(10'000)));
        transport.reset();
        for (const auto& exchange : exchanges) {
            CHECK(exchange->ended());
            CHECK(exchange->response().fault == NetFault::cancelled);
        }
        CHECK(exchanges[0]->response().status == 200);
    }
    SUBCASE("by the end of the transport, at the same time as by hand") {
        for (int i = 0; i < 20; ++i) {
            Transport brief(rules);
            auto first = brief.start(request_of("GET", server.url("/silent")));
            auto second = brief.start(request_of("GET", server.url("/silent")));
            std::thread other([exchange = std::move(first)]() mutable { exchange.reset(); });
            std::thread another([exchange = std::move(second)]() mutable { exchange.reset(); });
            other.join();
            another.join();
        }
    }
}

TEST_CASE("transport: many threads share one") {
    ScriptedServer server(answer_all);
    const auto transport = Transport::shared(local);
    CHECK(transport == Transport::shared(local));
    Transport::Rules strangers = local;
    strangers.allow_private = false;
    CHECK(transport != Transport::shared(strangers));
    std::atomic<int> good{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 100; ++i) {
                const auto dropped = transport->start(request_of("GET", server.url()));
                good += transport->perform(request_of("GET", server.url())).body == "ok";
            }
        });
    for (auto& thread : threads) thread.join();
    CHECK(good == 400);
}

TEST_CASE("transport: a private address is refused before anything is sent") {
    ScriptedServer four(answer_all), six(answer_all, AF_INET6);
    Transport transport({.allow_http = true});
    std::vector<std::string> urls{four.url(),
                                  fmt::format("http://localhost:{}/", four.port()),
                                  fmt::format("http://0x7f.1:{}/", four.port()),
                                  fmt::format("http://2130706433:{}/", four.port()),
                                  fmt::format("http://[::ffff:127.0.0.1]:{}/", four.port()),
                                  "http://169.254.169.254/latest/meta-data"};
    if (six.listening()) urls.push_back(six.url());
    for (const std::string& url : urls) {
        INFO(url);
        const HttpResponse response = transport.perform(request_of("GET", url));
        CHECK(response.fault == NetFault::address);
        CHECK(response.detail.find("is not a public address") != std::string::npos);
    }
    CHECK(four.accepted() == 0);
    CHECK(six.accepted() == 0);
}

TEST_CASE("transport: what cannot be reached") {
    ScriptedServer server(answer_all), no_tls([](Peer&peer) { peer.send("220 mail\r\n"); });
    Transport transport(local);
    const auto fault_of = [&](const std::string& url) {
        const HttpResponse response = transport.perform(request_of("GET", url));
        CHECK(!response.detail.empty());
        return net_fault_name(response.fault);
    };
    CHECK(fault_of(fmt::format("https://127.0.0.1:{}/", no_tls.port())) == "connect");
    CHECK(fault_of(fmt::format("http://{}.invalid/", std::string(64, 'x'))) == "address");
    CHECK(fault_of(fmt::format("http://user:password@127.0.0.1:{}/", server.port())) == "address");
    CHECK(fault_of("http:///") == "address");
    CHECK(fault_of("file:///etc/passwd") == "address");
    CHECK(fault_of("gopher://127.0.0.1/") == "address");
    CHECK(fault_of("not a url") == "address");
    uint16_t free_port = 0;
    {
        ScriptedServer gone(answer_all);
        free_port = gone.port();
    }
    CHECK(fault_of(fmt::format("http://127.0.0.1:{}/", free_port)) == "connect");

    Transport secure({.allow_private = true});
    CHECK(secure.perform(request_of("GET", server.url())).fault == NetFault::address);
    CHECK(server.accepted() == 0);
}

TEST_CASE("transport: a host keeps the address it was first reached at, until that fails") {
    const auto closing = [](Peer& peer) {
        if (!peer.read_request().empty()) peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nfour");
    };
    auto four = std::make_unique<ScriptedServer>(closing);
    const std::string url = fmt::format("http://localhost:{}/", four->port());
    Transport transport(local);
    CHECK(transport.perform(request_of("GET", url)).body == "four");

    // To libcurl localhost is ::1 and 127.0.0.1: a resolution would now find this one first.
    ScriptedServer six(answer_all, AF_INET6, four->port());
    if (!six.listening()) return;
    for (int i = 0; i < 3; ++i) CHECK(transport.perform(request_of("GET", url)).body == "four");
    CHECK(six.accepted() == 0);

    four.reset();
    CHECK(transport.perform(request_of("GET", url)).fault == NetFault::connect);
    CHECK(transport.perform(request_of("GET", url)).body == "ok");
    CHECK(transport.perform(request_of("GET", six.url())).body == "ok");
    CHECK(six.accepted() == 2);
}
