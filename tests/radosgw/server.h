// The real S3 server that the tests of this program share, and requests to it.
#pragma once

#include "base/temporary_folder.h"
#include "net/s3/credentials.h"
#include "net/s3/sign.h"
#include "net/s3/transport.h"

#include <sys/types.h>

#include <string>

namespace templar {

// Started by tools/s3_server.sh in a temporary folder. Ends with this process, in whatever way this one ends.
class LocalServer {
  public:
    // The one of this program; started by the first call, with the buckets `first` and `second`.
    static LocalServer& instance();
    ~LocalServer();
    LocalServer(const LocalServer&) = delete;
    LocalServer& operator=(const LocalServer&) = delete;

    // Why this machine cannot run one; empty when it runs.
    const std::string& missing() const { return missing_; }
    std::filesystem::path home() const { return folder_.path() / "server"; }
    std::filesystem::path credentials() const { return home() / "credentials"; }
    S3Profile profile(const std::string& name) const { return find_profile(name, credentials()); }
    pid_t gateway() const;  // the process that answers

  private:
    LocalServer();
    void stop_with_this_process();

    TemporaryFolder folder_;
    std::string missing_;
    int lifeline_ = -1;  // closed by the end of this process
    pid_t guard_ = -1;   // waits for that, and stops the server
};

// While it lives the gateway answers nothing, and keeps its connections.
class Paused {
  public:
    Paused();
    ~Paused();
    Paused(const Paused&) = delete;
    Paused& operator=(const Paused&) = delete;
};

int64_t now_s();
// What a request answered; fails the test when it did not arrive.
HttpResponse send(const std::string& method, const SignedRequest& request, const std::string& body = "");
// A request of `profile`, with nothing signed yet. `path`: "/bucket/key", raw.
S3Request request_of(const S3Profile& profile, const std::string& method, const std::string& path);
// Signed now with the body's hash, and sent.
HttpResponse ask(const S3Profile& profile, const S3Request& request, const std::string& body = "");

}  // namespace templar
