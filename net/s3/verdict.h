// What an answer, or its absence, means for a client: is it worth another try, and what is a person told?
#pragma once

#include "net/s3/answers.h"
#include "net/s3/transport.h"

namespace templar {

int64_t system_ms();  // this machine's clock, since the Unix epoch

// Worth another try: the service is busy or in trouble, or the data did not reach it well. Not: refusals,
// which stay.
bool is_passing(int status, std::string_view code);
// The service calls the request's time wrong.
bool is_clock_code(std::string_view code);
// 404 of an object or an upload; a bucket or a page that is not there is another matter. HEAD has no body to
// say so.
bool is_missing(int status, std::string_view code, const HttpResponse& response);
// The status that the error in the body of a 200 would have had.
int hidden_status(std::string_view code);
// How long Retry-After asks to wait (at most a day); nothing without one.
std::optional<int64_t> retry_after_ms(const HttpResponse& response);
// Of NetFault::address: a name that does not resolve may do so soon; an address or a protocol that is not
// allowed stays that.
bool may_resolve_later(const HttpResponse& response);

// "503 SlowDown "Reduce your request rate" (x-amz-request-id …)", not redacted.
std::string describe(int status, const S3Fault& fault, const HttpResponse& response);
// What to do.
std::string_view advice_for(int status, std::string_view code);
std::string_view advice_for(NetFault fault);

}  // namespace templar
