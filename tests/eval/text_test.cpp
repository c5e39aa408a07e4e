#include "eval/text.h"

#include <doctest/doctest.h>

using namespace templar;

TEST_CASE("white space is what Python takes for it") {
    CHECK(strip(" \t\n\x1c\u00a0\u2003\u3000x y\u200a\u0085\n") == "x y");
    CHECK(strip("\u200bx\u200b") == "\u200bx\u200b");  // a zero-width space is none
    CHECK(strip(" \u3000 ").empty());
    CHECK(strip("") == "");
    CHECK(trailing_space("a b \u3000\n") == 5);
    CHECK(trailing_space("ab") == 0);
    CHECK(trailing_space("\u3000") == 3);
}

TEST_CASE("capitalize: the first letter up, all others down") {
    CHECK(capitalize("") == "");
    CHECK(capitalize("the Woman in RED") == "The woman in red");
    CHECK(capitalize(" the") == " the");
    CHECK(capitalize("\u00e9COLE \u00c9T\u00c9") == "\u00c9cole \u00e9t\u00e9");
    CHECK(capitalize("\u017eIVOT \u0141\u00d3D\u0179 \u00d7") == "\u017divot \u0142\u00f3d\u017a \u00d7");
    CHECK(capitalize("\u043c\u041e\u0421\u041a\u0412\u0410 \u0401") == "\u041c\u043e\u0441\u043a\u0432\u0430 \u0451");
    CHECK(capitalize("\u03ac\u03a9\u0388\u038c\u038f") == "\u0386\u03c9\u03ad\u03cc\u03ce");
    CHECK(capitalize("\u00ffx") == "\u0178x");
    CHECK(capitalize("\u65e5\u672cA") == "\u65e5\u672ca");
}

TEST_CASE("lengths in characters and words") {
    CHECK(characters("") == 0);
    CHECK(characters("a\u00e9\u65e5\U0001f600") == 4);
    CHECK(words("") == 1);
    CHECK(words("one") == 1);
    CHECK(words("one  two\n\nthree") == 3);
    CHECK(words(" one ") == 3);  // as re.split does: empty texts at both ends
    CHECK(words("one\u3000two") == 2);
}

TEST_CASE("replacing passes over what it has replaced") {
    CHECK(replace_all("a    b", "  ", " ") == "a  b");
    CHECK(replace_all("aaa", "aa", "b") == "ba");
    CHECK(replace_all("", "a", "b") == "");
}
