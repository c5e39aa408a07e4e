// bucket: what lies in a bucket, in and out of it, and whether it is fit for a run.
#include "net/bucket/key.h"
#include "net/s3/endpoint.h"
#include "net/s3/sign.h"
#include "tools/bucket/check.h"
#include "tools/bucket/transfer.h"
#include "tools/program.h"

#include <CLI/CLI.hpp>

#include <chrono>
#include <memory>

namespace templar {

namespace {

struct Options {
    std::string url, prefix, file, read_profile;
    std::vector<std::string> keys;
    std::string key;
    int64_t limit = 1000;
    GetOptions get;
    std::string method = "GET";
    int64_t expires_s = 3600;
    bool discard = false, replace = false, create_only = false;
    BucketOptions bucket;
};

std::unique_ptr<Bucket> open(const Options& options, Meter* meter = nullptr) {
    BucketOptions bucket = options.bucket;
    bucket.stop = &stop_requested();
    if (meter) bucket.progress = meter->callback();
    return open_bucket(options.url, bucket);
}

int list(const Options& options) {
    list_objects(*open(options), options.prefix, options.limit);
    return 0;
}

int get(const Options& options) {
    if (options.discard != options.get.folder.empty())
        fail(ExitCode::usage, "get: expected either --to FOLDER or --discard");
    Meter meter;
    get_objects(*open(options, &meter), options.keys, options.get, meter);
    return 0;
}

int put(const Options& options) {
    Meter meter;
    put_object(*open(options, &meter), options.file, options.key, options.replace, meter);
    return 0;
}

int remove(const Options& options) {
    remove_objects(*open(options), options.keys);
    return 0;
}

// Needs no service: who has the key can sign anything.
int presign(const Options& options) {
    if (!options.url.starts_with("s3://"))
        fail(ExitCode::usage, "presign: bucket {} has no keys, only s3:// buckets do", options.url);
    if (options.create_only && options.method != "PUT")
        fail(ExitCode::usage, "presign: --create-only is about writing: it needs --method PUT");
    check_key(options.key);
    const std::string name = parse_s3_url(options.url, "https://endpoint.invalid").profile;
    const S3Profile profile = find_profile(name, options.bucket.credentials);
    const S3Location location = parse_s3_url(options.url, profile.endpoint, profile.region);
    if (!location.https && !options.bucket.allow_http)
        fail(ExitCode::usage,
             "presign: over http anybody on the way can take the URL: use an https endpoint, or say "
             "--allow-http");

    S3Request request{.method = options.method,
                      .origin = location.origin(),
                      .path = "/" + location.bucket + "/" +
                              (location.prefix.empty() ? "" : location.prefix + "/") + options.key};
    if (options.create_only) request.headers = {{"If-None-Match", "*"}};
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const SignedRequest ticket =
        Signer(profile.credentials, location.region)
            .presign(request, std::chrono::duration_cast<std::chrono::seconds>(now).count(),
                     options.expires_s);
    fmt::print("{}\n", ticket.url);
    fmt::print(stderr, "bucket: whoever has this URL may {} {} for {}, with: curl {}'URL'\n", options.method,
               options.key, short_duration(static_cast<double>(options.expires_s)),
               options.method == "GET" ? "-O "
               : options.create_only   ? "-H 'If-None-Match: *' -T FILE "
                                       : "-T FILE ");
    return 0;
}

int check(const Options& options) {
    // Without the stop flag: Ctrl-C must not keep it from cleaning up.
    const bool good = check_bucket(options.url, options.bucket, options.read_profile);
    fmt::print("{}\n", good ? "This bucket is fit for a run."
                            : "This bucket is NOT fit for a run: see what FAILED above.");
    return good ? 0 : static_cast<int>(ExitCode::storage);
}

CLI::App* add_command(CLI::App& app, const std::string& name, const std::string& description,
                      const std::string& example, Options& options) {
    CLI::App* command = app.add_subcommand(name, description);
    command->footer("Example:\n  " + example);
    command->add_option("URL", options.url, "file:///absolute/folder or s3://bucket[/prefix]?endpoint=…")
        ->required()
        ->type_name("")
        ->default_str("");
    command
        ->add_option("--credentials", options.bucket.credentials,
                     "file with S3 keys, mode 0600; default: the environment, else ~/.aws/credentials")
        ->type_name("FILE")
        ->default_str("");
    command->add_flag("--allow-http", options.bucket.allow_http,
                      "s3:// without TLS (for servers of your own)");
    return command;
}

void add_keys(CLI::App* command, Options& options) {
    command->add_option("KEY", options.keys, "names of objects")->required()->type_name("")->default_str("");
}

std::function<int()> define(CLI::App& app) {
    const auto options = std::make_shared<Options>();
    app.require_subcommand(1);
    app.footer(
        "Before joining a run, with a bucket of your own and a key that may only read, for the others:\n"
        "  bucket check 's3://my-run?endpoint=https://ACCOUNT.r2.cloudflarestorage.com&region=auto' "
        "--read-profile reader\n"
        "and then\n"
        "  bucket ls file:///mnt/shared/my-run record/\n"
        "  bucket get file:///mnt/shared/my-run record/00000012 --to .\n\n"
        "Keys come from a file in AWS's form (chmod 600), never from the command line:\n"
        "  [default]\n"
        "  aws_access_key_id = …\n"
        "  aws_secret_access_key = …\n"
        "  [reader]\n"
        "  …\n"
        "A URL chooses one by &profile=reader.\n\n" +
        app.get_footer());

    CLI::App* command = add_command(app, "ls", "Size, time (UTC) and key of the objects in a bucket",
                                    "bucket ls file:///mnt/shared/my-run record/ --limit 20", *options);
    command->add_option("PREFIX", options->prefix, "only keys that begin with this")
        ->type_name("")
        ->default_str("");
    command->add_option("--limit", options->limit, "at most this many; 0: all")
        ->check(CLI::NonNegativeNumber);

    command = add_command(app, "get", "Objects to files, and their SHA-256",
                          "bucket get file:///mnt/shared/my-run record/00000012 --to copies", *options);
    add_keys(command, *options);
    command->add_option("--to", options->get.folder, "folder to write below, each as the file KEY")
        ->type_name("FOLDER")
        ->default_str("");
    command->add_flag("--discard", options->discard, "only read, to see the speed");
    command->add_flag("!--no-hash", options->get.hash, "compute no SHA-256");
    command->add_flag("--replace", options->get.replace, "also files that are there");
    command->add_option("--parallel", options->get.parallel, "objects at a time")->check(CLI::Range(1, 64));

    command = add_command(app, "put", "A file to an object; one that is there is not touched",
                          "bucket put file:///mnt/shared/my-run notes.txt notes/1", *options);
    command->add_option("FILE", options->file, "the file")->required()->type_name("")->default_str("");
    command->add_option("KEY", options->key, "name of the object")
        ->required()
        ->type_name("")
        ->default_str("");
    command->add_flag("--replace", options->replace, "also an object that is there");

    command =
        add_command(app, "rm", "Remove objects", "bucket rm file:///mnt/shared/my-run notes/1", *options);
    add_keys(command, *options);

    command = add_command(
        app, "presign", "A URL that lets somebody without keys read or write one object for a while",
        "bucket presign 's3://my-run?endpoint=https://host' inbox/7 --method PUT --create-only --expires 600",
        *options);
    command->add_option("KEY", options->key, "name of the object")
        ->required()
        ->type_name("")
        ->default_str("");
    command->add_option("--method", options->method, "what is allowed")->check(CLI::IsMember({"GET", "PUT"}));
    command->add_option("--expires", options->expires_s, "seconds until it is worth nothing, at most 604800")
        ->check(CLI::Range(int64_t{1}, int64_t{604'800}));
    command->add_flag("--create-only", options->create_only,
                      "with PUT: only if there is no such object (its user must send If-None-Match: *)");

    command =
        add_command(app, "check",
                    "Whether a bucket is fit for a run: signing in, clock, writing once, reading, listing, "
                    "deleting",
                    "bucket check 's3://my-run?endpoint=https://host' --read-profile reader", *options);
    command
        ->add_option("--read-profile", options->read_profile,
                     "profile of the key that others are to read with: must read, must not write or delete")
        ->type_name("NAME")
        ->default_str("");

    return [&app, options] {
        const std::string chosen = app.get_subcommands().front()->get_name();
        if (chosen == "ls") return list(*options);
        if (chosen == "get") return get(*options);
        if (chosen == "put") return put(*options);
        if (chosen == "presign") return presign(*options);
        return chosen == "rm" ? remove(*options) : check(*options);
    };
}

}  // namespace

}  // namespace templar

int main(int argc, char** argv) {
    return templar::run_program(argc, argv, "bucket",
                                "Looks into buckets, moves objects in and out, and tells whether a bucket is "
                                "fit for a run.",
                                templar::define, templar::Work::moves);
}
