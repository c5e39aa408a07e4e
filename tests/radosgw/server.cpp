#include "tests/radosgw/server.h"

#include "base/error.h"
#include "base/file.h"
#include "base/sha256.h"

#include <doctest/doctest.h>

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <ctime>
#include <sstream>

namespace templar {

namespace {

constexpr std::string_view script = TEMPLAR_SOURCE_DIR "/tools/s3_server.sh";
constexpr int cannot_run_here = 77;

// Runs argv with stdout and stderr in `log`; its exit status.
int run(const std::vector<std::string>& argv, const std::filesystem::path& log) {
    std::vector<char*> pointers;
    for (const std::string& argument : argv) pointers.push_back(const_cast<char*>(argument.c_str()));
    pointers.push_back(nullptr);
    const pid_t pid = ::fork();
    if (pid == 0) {
        if (!::freopen(log.c_str(), "w", stdout) || !::freopen(log.c_str(), "a", stderr)) ::_exit(126);
        ::execv(pointers[0], pointers.data());
        ::_exit(127);
    }
    int status = 0;
    ::waitpid(pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

LocalServer& LocalServer::instance() {
    static LocalServer server;
    return server;
}

LocalServer::LocalServer() {
    stop_with_this_process();
    const std::filesystem::path log = folder_.path() / "start.log";
    const int status = run({"/bin/bash", std::string(script), "start", home(), "first", "second"}, log);
    const std::string said = read_text_file(log, 1 << 20);
    if (status == cannot_run_here)
        missing_ = said;
    else if (status != 0)
        fail(ExitCode::storage, "{} start: expected a server, found status {}: {}", script, status, said);
}

void LocalServer::stop_with_this_process() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) fail(ExitCode::internal, "no pipe");
    guard_ = ::fork();
    if (guard_ == 0) {
        ::setsid();
        ::dup2(ends[0], STDIN_FILENO);
        ::execl("/bin/bash", "bash", "-c", R"(read -r; bash "$0" stop "$1/server"; rm -rf "$1")",
                script.data(), folder_.path().c_str(), nullptr);
        ::_exit(127);
    }
    ::close(ends[0]);
    lifeline_ = ends[1];
}

LocalServer::~LocalServer() {
    ::close(lifeline_);
    ::waitpid(guard_, nullptr, 0);
}

pid_t LocalServer::gateway() const {
    std::istringstream noted(read_text_file(home() / "state/rgw.pid", 100));
    pid_t pid = 0;
    noted >> pid;
    REQUIRE(pid > 0);
    return pid;
}

Paused::Paused() {
    ::kill(LocalServer::instance().gateway(), SIGSTOP);
}

Paused::~Paused() {
    ::kill(LocalServer::instance().gateway(), SIGCONT);
}

int64_t now_s() {
    return static_cast<int64_t>(std::time(nullptr));
}

HttpResponse send(const std::string& method, const SignedRequest& request, const std::string& body) {
    HttpRequest http{
        .method = method, .url = request.url, .headers = request.headers, .body = as_bytes(body)};
    http.deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    http.max_body = 1 << 20;
    HttpResponse response = Transport::shared({.allow_http = true, .allow_private = true})->perform(http);
    INFO(method << " " << request.url << ": " << response.detail);
    REQUIRE(response.fault == NetFault::none);
    return response;
}

S3Request request_of(const S3Profile& profile, const std::string& method, const std::string& path) {
    return {.method = method, .origin = profile.endpoint, .path = path};
}

HttpResponse ask(const S3Profile& profile, const S3Request& request, const std::string& body) {
    const Signer signer(profile.credentials, profile.region);
    return send(request.method, signer.sign(request, to_hex(sha256(as_bytes(body))), now_s()), body);
}

}  // namespace templar
