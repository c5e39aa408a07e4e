// How an answer goes wrong on its way.
#pragma once

#include "tests/system/s3_server_service.h"

namespace templar::s3test {

// True when the rule is about what the request is about.
bool concerns(const FaultRule& rule, const Request& request, const Target& target);
// True when the operation itself must not be done.
bool replaces_operation(Fault fault);
// The answer of such a fault.
Response instead(const FaultRule& rule, const Request& request, const Target& target, int64_t now_s);
// What to send of an answer; `rule` may be null. `response` is changed, and must outlive the plan.
Plan plan_answer(Response& response, const FaultRule* rule, const Request& request, const Target& target,
                 const Service& service);

}  // namespace templar::s3test
