// Pieces of an HTML page. Whatever comes from a store, a model file or a path goes through here, and can put no markup
// and no script into the page.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace steadfast::report::html {

// Text for element content and for quoted attributes. Control characters become spaces, what is not UTF-8 a replacement
// character.
std::string Escape(std::string_view text);

// <p>…</p> of plain text.
std::string Paragraph(std::string_view text);

// A real table with a caption, in a region that scrolls by itself. headers: one a column; those that start with '>' are
// numbers, set to the right. The first cell of a row is its header. All texts are escaped.
std::string Table(std::string_view caption, const std::vector<std::string>& headers,
                  const std::vector<std::vector<std::string>>& rows);

// JSON for a <script type="application/json"> element: no '<' and nothing outside ASCII.
std::string ScriptJson(const nlohmann::json& json);

// The CSP source of an inline script: 'sha256-…'.
std::string ScriptHash(std::string_view script);

}  // namespace steadfast::report::html
