// Our client against a real S3 server (Ceph's radosgw). Exit status 77, with the reason, where none can run.
#define DOCTEST_CONFIG_IMPLEMENT
#include "base/error.h"
#include "tests/radosgw/kill.h"
#include "tests/radosgw/server.h"

#include <doctest/doctest.h>

#include <cstdio>

int main(int argc, char** argv) {
    try {
        if (argc == 4 && argv[1] == std::string(templar::upload_and_die_option))
            return templar::upload_and_die_main(argv[2], argv[3]);
        const templar::LocalServer& server = templar::LocalServer::instance();
        if (!server.missing().empty()) {
            fmt::print("skipped: {}", server.missing());
            return 77;
        }
    } catch (const templar::Error& error) {
        fmt::print(stderr, "{}\n", error.what());
        return 1;
    }
    return doctest::Context(argc, argv).run();
}
