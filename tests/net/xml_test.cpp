#include "net/s3/xml.h"

#include "net/s3/answers.h"
#include "tests/net/error_code.h"

#include <cstdlib>
#include <ctime>

using namespace templar;

namespace {

void malformed(std::string_view text, std::string_view mentions = "XML answer") {
    INFO(std::string(text.substr(0, 200)));
    CHECK(code_of([&] { parse_xml(text); }, mentions) == ExitCode::input);
}

std::string repeated(std::string_view text, size_t times) {
    std::string all;
    all.reserve(text.size() * times);
    for (size_t i = 0; i < times; ++i) all += text;
    return all;
}

std::string list_page(std::string_view inside, std::string_view truncated = "false") {
    return fmt::format(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/"
        "doc/2006-03-01/\"><Name>run</Name><IsTruncated>{}</IsTruncated>{}</ListBucketResult>",
        truncated, inside);
}

std::string listed(std::string_view key, std::string_view size = "5",
                   std::string_view modified = "2026-11-21T10:11:12.345Z") {
    return fmt::format(
        "<Contents><Key>{}</Key><LastModified>{}</LastModified><ETag>&quot;abc&quot;</ETag><Size>{}"
        "</Size><StorageClass>STANDARD</StorageClass></Contents>",
        key, modified, size);
}

template <class Parse>
void refused(Parse parse, std::string_view text, std::string_view mentions = "XML answer") {
    INFO(std::string(text.substr(0, 300)));
    CHECK(code_of([&] { parse(text); }, mentions) == ExitCode::input);
}

}  // namespace

TEST_CASE("xml: elements, text, attributes and namespaces") {
    const XmlElement root = parse_xml(
        "\xef\xbb\xbf<?xml version='1.0'?>\n<!-- <a> -->\n<s3:A xmlns:s3=\"x>y\" n = '\"'>\n <B/> text <B "
        "c=\"1\"\t>"
        " kept <![CDATA[<&]]>]]> </B\n>\n<?p <z>?><C></C></s3:A >\n<!-- -->\n");
    CHECK(root.name == "A");
    CHECK(root.text == "text");
    REQUIRE(root.children.size() == 3);
    CHECK(root.children[0].name == "B");
    CHECK(root.children[0].text.empty());
    CHECK(root.children[1].text == " kept <&]]> ");
    CHECK(root.child("B") == &root.children[0]);
    CHECK(root.child("D") == nullptr);
    CHECK(root.text_of("C") == "");
    CHECK(parse_xml("<a>x<!-- y -->z</a>").text == "xz");
    CHECK(parse_xml("<a/>").text == "");
    CHECK(parse_xml("<a>\xc3\xa4\xff</a>").text == "\xc3\xa4\xff");
}

TEST_CASE("xml: entities") {
    CHECK(parse_xml("<a>&lt;&gt;&amp;&quot;&apos;</a>").text == "<>&\"'");
    CHECK(parse_xml("<a>&#65;&#x42;&#xe4;&#x20AC;&#x1F600;&#1114109;&#9;</a>").text ==
          "AB\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbd\t");
    CHECK(parse_xml("<a>&amp;lt;&amp;amp;</a>").text == "&lt;&amp;");  // resolved once
    for (const char* entity :
         {"&",        "&;",       "&#;",      "&#x;",       "&amp",       "&unknown;",  "&AMP;",
          "& amp;",   "&#0;",     "&#x0;",    "&#1;",       "&#31;",      "&#127;x&",   "&#xd800;",
          "&#xdfff;", "&#xfffe;", "&#xffff;", "&#x110000;", "&#1114112;", "&#9999999;", "&#99999999999;",
          "&#-1;",    "&#+65;",   "&#6 5;",   "&#xg;",      "&#X41;",     "&#x-1;",     "&#a;",
          "&lt&gt;"})
        malformed("<a>" + std::string(entity) + "</a>");
}

TEST_CASE("xml: what is cut short or not well formed is refused with its place") {
    const std::string whole = "<?xml version='1.0'?><a b='c'><!-- x --><d><![CDATA[y]]>&amp;</d><e/></a>";
    CHECK(parse_xml(whole).children.size() == 2);
    for (size_t size = 0; size < whole.size(); ++size) malformed(std::string_view(whole).substr(0, size));
    malformed("<a><b></a>", "at byte 8");
    malformed("<a></b>", "at byte 5");
    malformed("<a></aa>", "at byte 5");
    malformed("<p:a></q:a>", "at byte 7");
    for (const char* text : {"x<a/>",
                             "<a/>x",
                             "<a/><b/>",
                             "<a/></a>",
                             "</a>",
                             "<a></a></a>",
                             "<>",
                             "< a/>",
                             "<a",
                             "<a b>",
                             "<a b=>",
                             "<a b=c>",
                             "<a b='c>",
                             "<a b='<'/>",
                             "<a/ >",
                             "<a b='c'd='e'/>",
                             "<a></a b='c'>",
                             "<a/><![CDATA[x]]>",
                             "<![CDATA[x]]><a/>",
                             "<a><![CDATA[x]]</a>",
                             "<a><!-- x --</a>",
                             "<a><?x ?</a>",
                             "<a>&lt",
                             "<\xc3\xa4/>",
                             "<a$/>",
                             "&amp;",
                             "<a/>&amp;"})
        malformed(text);
}

TEST_CASE("xml: no document type, no entity of its own, no control characters") {
    malformed("<!DOCTYPE a><a/>", "document type");
    malformed("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>", "document type");
    malformed(
        "<!DOCTYPE lolz [<!ENTITY a 'lol'><!ENTITY b '&a;&a;&a;&a;'><!ENTITY c '&b;&b;&b;&b;'>]><a>&c;</a>",
        "document type");
    malformed("<a><!ELEMENT b></a>", "document type");
    malformed("<a>&c;</a>");
    malformed(std::string_view("<a>\0</a>", 8), "control character at byte 3");
    malformed(std::string_view("<a/>\0", 5), "control character at byte 4");
    malformed(std::string_view("<a><!--\0--></a>", 15), "control character");
    malformed("<a>\x01</a>");
    malformed("<a b='\x1b'/>");
    malformed(std::string_view("\xff\xfe<\0a\0/\0>\0", 10));  // UTF-16
}

TEST_CASE("xml: depth and number of elements are bounded, length is not") {
    CHECK(parse_xml(repeated("<a>", 16) + repeated("</a>", 16)).name == "a");
    malformed(repeated("<a>", 17) + repeated("</a>", 17), "fewer levels at byte 49");
    malformed(repeated("<a>", 1'000'000), "fewer levels");
    CHECK(parse_xml("<a>" + repeated("<b/>", 32'767) + "</a>").children.size() == 32'767);
    malformed("<a>" + repeated("<b/>", 32'768) + "</a>", "fewer elements");
    // Each of these takes minutes when the scanner looks at anything twice for every byte.
    const size_t many = 1'000'000;
    CHECK(parse_xml("<a>" + repeated("&lt;", many) + "</a>").text.size() == many);
    CHECK(parse_xml("<a>" + repeated("<!---->", many) + "</a>").text.empty());
    CHECK(parse_xml("<a>" + repeated("<![CDATA[]]>x", many) + "</a>").text.size() == many);
    CHECK(parse_xml("<a" + repeated(" b='c'", many) + "/>").name == "a");
    CHECK(parse_xml("<a>" + repeated(" ", many) + "<b/>" + repeated(" ", many) + "</a>").text.empty());
    CHECK(parse_xml("<" + repeated("n", many) + "/>").name.size() == many);
    malformed("<a>" + repeated("<!--", many));
    malformed("<a>" + repeated("&", many));
}

TEST_CASE("xml: faults") {
    const auto fault = parse_fault(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>NoSuchKey</Code><Message>The specified key "
        "&lt;x&gt; "
        "does not exist.</Message><RequestId/></Error>");
    REQUIRE(fault);
    CHECK(fault->code == "NoSuchKey");
    CHECK(fault->message == "The specified key <x> does not exist.");
    REQUIRE(parse_fault("<Error/>"));
    CHECK(parse_fault("<Error/>")->code == "");
    for (const char* other : {"", "oops", "<html><body>502 Bad Gateway</body></html>", "<ListBucketResult/>",
                              "<Error>", "<!DOCTYPE html><html></html>", "<a><Error/></a>"})
        CHECK(!parse_fault(other));
}

TEST_CASE("xml: a page of a list") {
    const S3ListPage page = parse_list_page(list_page(
        listed("a/b%20c&amp;d") + "<CommonPrefixes><Prefix>x</Prefix></CommonPrefixes>" + listed("z", "0")));
    REQUIRE(page.objects.size() == 2);
    CHECK(page.objects[0].key == "a/b%20c&d");
    CHECK(page.objects[0].size == 5);
    CHECK(page.objects[0].modified_ms == 1'795'255'872'000);
    CHECK(page.objects[0].etag == "abc");
    CHECK(page.objects[1].size == 0);
    CHECK(!page.truncated);
    CHECK(page.next_token.empty());

    const S3ListPage more = parse_list_page(
        list_page("<NextContinuationToken>1/+=</NextContinuationToken>" + listed("a"), "true"));
    CHECK(more.truncated);
    CHECK(more.next_token == "1/+=");
    CHECK(parse_list_page(list_page("")).objects.empty());
    CHECK(parse_list_page(list_page(listed("a", "9223372036854775807"))).objects[0].size == INT64_MAX);
}

TEST_CASE("xml: encoding-type=url is undone, and only where the answer says so") {
    const std::string said = "<EncodingType>url</EncodingType>";
    const S3ListPage page = parse_list_page(list_page(
        said + listed("a%20b+c%2Bd%2fe%25%41%C3%a4") + "<NextContinuationToken>%41+</NextContinuationToken>",
        "true"));
    CHECK(page.objects[0].key == "a b c+d/e%A\xc3\xa4");
    CHECK(page.next_token == "%41+");
    CHECK(parse_list_page(list_page(listed("%zz+"))).objects[0].key == "%zz+");
    for (const char* key : {"%", "a%", "a%4", "%zz", "%4g", "%-1", "%%41"})
        refused(parse_list_page, list_page(said + listed(key)), "%-escape");
}

TEST_CASE("xml: pages that are not what they should be") {
    refused(parse_list_page, "<ListAllMyBucketsResult/>",
            "expected <ListBucketResult>, found <ListAllMyBucketsResult>");
    refused(parse_list_page, "<Error><Code>x</Code></Error>", "found <Error>");
    refused(parse_list_page, "<ListBucketResult/>", "<IsTruncated>");
    refused(parse_list_page, list_page("", "yes"), "true or false");
    refused(parse_list_page, list_page("", "true"), "<NextContinuationToken>");
    refused(parse_list_page, list_page(listed("")), "<Key>");
    for (const char* size :
         {"", "-1", "+1", " 1", "1 ", "0x1", "1e3", "1.0", "9223372036854775808", "99999999999999999999"})
        refused(parse_list_page, list_page(listed("a", size)), "<Size>");
    for (const char* when : {"", "yesterday", "Sun, 06 Nov 1994 08:49:37 GMT", "2026-11-21"})
        refused(parse_list_page, list_page(listed("a", "1", when)), "<LastModified>");
    for (const char* missing : {"<Contents/>", "<Contents><Key>a</Key></Contents>",
                                "<Contents><Key>a</Key><Size>1</Size></Contents>"})
        refused(parse_list_page, list_page(missing));
    CHECK(parse_list_page(list_page(repeated(listed("a"), 1000))).objects.size() == 1000);
    refused(parse_list_page, list_page(repeated(listed("a"), 1001)), "at most 1000");
}

TEST_CASE("xml: multipart uploads") {
    const auto uploads = parse_uploads(
        "<ListMultipartUploadsResult><EncodingType>url</EncodingType><Upload><Key>a%2Fb</Key><UploadId>u+1</"
        "UploadId>"
        "<Initiated>1970-01-01T00:00:01.999Z</Initiated></Upload></ListMultipartUploadsResult>");
    REQUIRE(uploads.size() == 1);
    CHECK(uploads[0].key == "a/b");
    CHECK(uploads[0].upload_id == "u+1");
    CHECK(uploads[0].initiated_ms == 1000);
    CHECK(parse_uploads("<ListMultipartUploadsResult/>").empty());
    refused(parse_uploads,
            "<ListMultipartUploadsResult><Upload><Key>a</Key></Upload></ListMultipartUploadsResult>",
            "<UploadId>");
    refused(parse_uploads, "<ListPartsResult/>", "found <ListPartsResult>");

    CHECK(parse_upload_id(
              "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>x&amp;y</UploadId>"
              "</InitiateMultipartUploadResult>") == "x&y");
    refused(parse_upload_id, "<InitiateMultipartUploadResult/>", "<UploadId>");
    CHECK(parse_completed_etag(
              "<CompleteMultipartUploadResult><ETag>\"abc-2\"</ETag></CompleteMultipartUploadResult>") ==
          "abc-2");
    CHECK(parse_completed_etag(
              "<CompleteMultipartUploadResult><ETag>abc-2</ETag></CompleteMultipartUploadResult>") ==
          "abc-2");
    CHECK(parse_completed_etag(
              "<CompleteMultipartUploadResult><ETag></ETag></CompleteMultipartUploadResult>") == "");
    refused(parse_completed_etag, "<Error><Code>InternalError</Code></Error>", "found <Error>");
}

TEST_CASE("xml: parts") {
    auto parts = [](std::string_view inside) {
        return fmt::format("<ListPartsResult>{}</ListPartsResult>", inside);
    };
    const std::string part =
        "<Part><PartNumber>7</PartNumber><ETag>&quot;e&quot;</ETag><Size>5242880</Size></Part>";
    const S3PartPage page = parse_parts(
        parts("<NextPartNumberMarker>7</NextPartNumberMarker><IsTruncated>true</IsTruncated>" + part));
    REQUIRE(page.parts.size() == 1);
    CHECK(page.parts[0].number == 7);
    CHECK(page.parts[0].size == 5'242'880);
    CHECK(page.parts[0].etag == "e");
    CHECK(page.truncated);
    CHECK(page.next_marker == 7);
    CHECK(parse_parts(parts("<IsTruncated>false</IsTruncated>")).parts.empty());
    refused(parse_parts, parts("<IsTruncated>true</IsTruncated>"), "<NextPartNumberMarker>");
    for (const char* number : {"0", "-1", "10001", "x"})
        refused(parse_parts,
                parts(fmt::format(
                    "<IsTruncated>false</IsTruncated><Part><PartNumber>{}</PartNumber><ETag>e</ETag>"
                    "<Size>1</Size></Part>",
                    number)),
                "1 … 10000");
    refused(parse_parts, parts("<IsTruncated>false</IsTruncated>" + repeated(part, 1001)), "at most 1000");
}

TEST_CASE("xml: the body that completes an upload reads back as it was meant") {
    const std::string hostile = "\"'<ETag>&amp;]]>";
    const XmlElement root = parse_xml(complete_upload_body({{1, 5, "abc"}, {2, 6, hostile}}));
    CHECK(root.name == "CompleteMultipartUpload");
    REQUIRE(root.children.size() == 2);
    CHECK(root.children[0].text_of("PartNumber") == "1");
    CHECK(root.children[0].text_of("ETag") == "\"abc\"");
    CHECK(root.children[1].text_of("PartNumber") == "2");
    CHECK(root.children[1].text_of("ETag") == "\"" + hostile + "\"");
    CHECK(root.children[1].children.size() == 2);
}

TEST_CASE("dates: both forms, whole seconds, whatever the time zone") {
    const char* zone = std::getenv("TZ");
    const std::string saved = zone ? zone : "";
    setenv("TZ", "America/New_York", 1);
    tzset();
    CHECK(parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT") == 784'111'777'000);
    CHECK(parse_iso_date("1994-11-06T08:49:37.123Z") == 784'111'777'000);
    if (zone)
        setenv("TZ", saved.c_str(), 1);
    else
        unsetenv("TZ");
    tzset();
    CHECK(parse_iso_date("1994-11-06T08:49:37Z") == 784'111'777'000);
    CHECK(parse_iso_date("1970-01-01T00:00:00.999999999Z") == 0);
    CHECK(parse_http_date("Thu, 01 Jan 1970 00:00:00 GMT") == 0);
    CHECK(parse_iso_date("2000-02-29T23:59:59.0Z") == 951'868'799'000);
    CHECK(parse_iso_date("2000-03-01T00:00:00Z") == 951'868'800'000);
    CHECK(parse_iso_date("2024-02-29T00:00:00Z") == 1'709'164'800'000);
    CHECK(parse_iso_date("2100-03-01T00:00:00Z") == 4'107'542'400'000);
    CHECK(parse_iso_date("9999-12-31T23:59:59Z") == 253'402'300'799'000);
    CHECK(parse_http_date("Tue, 31 Dec 2024 23:59:60 GMT") == 1'735'689'600'000);  // a leap second
    // Every day from 1970 to 2105 follows the one before.
    int64_t expected = 0;
    for (int year = 1970; year < 2106; ++year)
        for (int month = 1; month <= 12; ++month)
            for (int day = 1; day <= 31; ++day)
                if (const auto found =
                        parse_iso_date(fmt::format("{:04}-{:02}-{:02}T00:00:00Z", year, month, day))) {
                    REQUIRE(*found == expected);
                    expected += 86'400'000;
                }
    CHECK(expected / 86'400'000 == 49'673);
}

TEST_CASE("dates: malformed") {
    for (const char* text : {"",
                             "Sun, 06 Nov 1994 08:49:37",
                             "Sun, 06 Nov 1994 08:49:37 UTC",
                             "Sun, 06 Nov 1994 08:49:37 GMT ",
                             "Sunday, 06-Nov-94 08:49:37 GMT",
                             "Sun Nov  6 08:49:37 1994",
                             "Sun, 6 Nov 1994 08:49:37 GMT",
                             "Sun,  6 Nov 1994 08:49:37 GMT",
                             "sun, 06 Nov 1994 08:49:37 GMT",
                             "Xyz, 06 Nov 1994 08:49:37 GMT",
                             "unM, 06 Nov 1994 08:49:37 GMT",
                             "Sun, 06 Xyz 1994 08:49:37 GMT",
                             "Sun, 06 anF 1994 08:49:37 GMT",
                             "Sun, 31 Nov 1994 08:49:37 GMT",
                             "Sun, 00 Nov 1994 08:49:37 GMT",
                             "Sun, 06 Nov 1994 24:00:00 GMT",
                             "Sun, 06 Nov 1994 08:60:00 GMT",
                             "Sun, 06 Nov 1994 08:49:61 GMT",
                             "Sun, 06 Nov 1994 -8:49:37 GMT",
                             "Sun, 06 Nov 1994 08:+9:37 GMT",
                             "Wed, 31 Dec 1969 23:59:59 GMT",
                             "Sun, 0x Nov 1994 08:49:37 GMT"})
        CHECK_MESSAGE(!parse_http_date(text), text);
    for (const char* text : {"",
                             "1994-11-06",
                             "1994-11-06T08:49:37",
                             "1994-11-06T08:49:37+00:00",
                             "1994-11-06 08:49:37Z",
                             "1994-11-06t08:49:37z",
                             "1994-13-06T08:49:37Z",
                             "1994-00-06T08:49:37Z",
                             "1994-02-29T08:49:37Z",
                             "1900-02-29T08:49:37Z",
                             "2100-02-29T08:49:37Z",
                             "1994-11-06T08:49:37.Z",
                             "1994-11-06T08:49:37,1Z",
                             "1994-11-06T08:49:37.1.2Z",
                             "1994-11-06T08:49:37.-1Z",
                             "1994-11-06T08:49:37.1234567891Z",
                             "1994-11-06T08:49:37ZZ",
                             "-994-11-06T08:49:37Z",
                             "1969-12-31T23:59:59Z",
                             "1994-11-06T08:49:3Z"})
        CHECK_MESSAGE(!parse_iso_date(text), text);
}
