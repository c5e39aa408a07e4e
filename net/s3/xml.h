// XML as S3 services write it: small, regular, and from a stranger. A bounded scanner: no document type, no
// external anything, at most 16 levels and 32,768 elements, the five named entities and numeric ones.
// Comments, processing instructions and attributes are passed over; bytes from 0x80 up are taken as they are.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace templar {

struct XmlElement {
    std::string name;  // without namespace prefix
    // Its own character data, entities resolved; blanks around it removed when it has children.
    std::string text;
    std::vector<XmlElement> children;
    // The first child of that name; nullptr when there is none.
    const XmlElement* child(std::string_view child_name) const;
    // The first such child's text; "" when there is none.
    std::string_view text_of(std::string_view child_name) const;
};

// The document's root. Time is linear in the text's length. Throws Error(input) naming the byte offset.
XmlElement parse_xml(std::string_view text);

}  // namespace templar
