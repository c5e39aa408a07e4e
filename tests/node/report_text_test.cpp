// What the report's charts and tables are made of: ticks, labels, numbers and clipped text.
#include "node/report_svg.h"
#include "node/report_text.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

using namespace templar;

TEST_CASE("axis ticks are round and cover") {
    using svg::covering_ticks;
    CHECK(covering_ticks(0, 19, 8, true) == std::vector<double>{0, 5, 10, 15, 20});
    CHECK(covering_ticks(0, 1, 6, true) == std::vector<double>{0, 1});
    for (const auto& [low, high] : std::vector<std::pair<double, double>>{
             {3.2, 5.1}, {-1, 1}, {7, 7}, {0, 0}, {1e-9, 2e-9}, {-1e29, 1e29}, {1e15, 1e15 + 1}, {NAN, 3}}) {
        const std::vector<double> ticks = covering_ticks(low, high, 5);
        REQUIRE(ticks.size() >= 2);
        CHECK(ticks.size() <= 12);
        if (std::isfinite(low)) {
            const double step = ticks[1] - ticks[0];
            CHECK(ticks.front() <= low + 1e-5 * step);
            CHECK(ticks.back() >= high - 1e-5 * step);
        }
    }
}

TEST_CASE("labels are spread, in order and inside") {
    const auto check = [](const std::vector<double>& wanted, double gap, double low, double high) {
        const std::vector<double> placed = svg::spread(wanted, gap, low, high);
        REQUIRE(placed.size() == wanted.size());
        for (size_t i = 0; i < placed.size(); ++i) {
            CHECK(placed[i] >= low - 1e-9);
            CHECK(placed[i] <= high + 1e-9);
            if (i > 0)
                CHECK(placed[i] - placed[i - 1] >=
                      std::min(gap, (high - low) / static_cast<double>(placed.size() - 1)) - 1e-9);
        }
        return placed;
    };
    CHECK(svg::spread({}, 10, 0, 100).empty());
    CHECK(check({10, 50, 90}, 10, 0, 100) == std::vector<double>{10, 50, 90});
    CHECK(check({50, 50, 50}, 10, 0, 100) == std::vector<double>{40, 50, 60});
    check({0, 0, 1, 99, 100, 100}, 10, 0, 100);
    check({100, 100, 100, 100}, 15, 0, 100);
    check(std::vector<double>(30, 50.0), 10, 0, 100);
    check({1, 12, 13, 14, 30, 31, 32, 90, 95}, 9, 0, 100);
}

TEST_CASE("numbers read the way people write them") {
    using namespace html;
    CHECK(number(3.14159, 2) == "3.14");
    CHECK(number(-0.5, 1) == "−0.5");
    CHECK(number(-0.001, 2) == "0.00");
    CHECK(number(NAN, 2) == "–");
    CHECK(number(-INFINITY, 2) == "–");
    CHECK(number(1e300, 2) == "1e+300");
    CHECK(percent(0.0123, 1) == "1.2\u00A0%");
    CHECK(percent(NAN, 1) == "–");
    CHECK(count(0) == "0");
    CHECK(count(999) == "999");
    CHECK(count(999.7) == "1.00\u00A0k");
    CHECK(count(1234567) == "1.23\u00A0M");
    CHECK(bytes(64000) == "64.0\u00A0kB");
    CHECK(grouped(1234567) == "1,234,567");
    CHECK(grouped(-999) == "−999");
    CHECK(duration(59) == "59\u00A0s");
    CHECK(duration(3725) == "1:02:05");
    CHECK(seconds(0.0123) == "0.01\u00A0s");
    CHECK(date(0) == "–");
    CHECK(date(1'790'000'000'000) == "2026-09-21 14:13 UTC");
}

TEST_CASE("text is clipped by characters and repaired where it is not UTF-8") {
    using namespace html;
    CHECK(clip("abc", 3) == "abc");
    CHECK(clip("äöüß", 3) == "äö…");
    CHECK(clip("", 3) == "");
    CHECK(length("äöü") == 3);
    CHECK(escape("a<b>&\"'") == "a&lt;b&gt;&amp;&quot;&#39;");
    CHECK(escape("\xff\xc3") == "\uFFFD\uFFFD");
    CHECK(escape("\xed\xa0\x80") == "\uFFFD\uFFFD\uFFFD");  // a surrogate
    CHECK(escape("\xc0\xaf") == "\uFFFD\uFFFD");            // an overlong slash
    CHECK(escape(std::string_view("\0\x7f\n", 3)) == "\uFFFD\uFFFD ");
    CHECK(escape("日本 🙂") == "日本 🙂");
}
