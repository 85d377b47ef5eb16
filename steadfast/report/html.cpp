#include "steadfast/report/html.h"

#include "steadfast/base/hash.h"

namespace steadfast::report::html {
namespace {

constexpr size_t kLongCell = 48;  // characters: longer texts are broken into lines

// The length of the well-formed UTF-8 sequence at the start of text, 0 where there is none (RFC 3629).
size_t SequenceLength(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(text[i]); };
  const auto follows = [&](size_t i, unsigned low = 0x80, unsigned high = 0xBF) {
    return i < text.size() && byte(i) >= low && byte(i) <= high;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned low = first == 0xE0 ? 0xA0 : 0x80, high = first == 0xED ? 0x9F : 0xBF;
    return follows(1, low, high) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned low = first == 0xF0 ? 0x90 : 0x80, high = first == 0xF4 ? 0x8F : 0xBF;
    return follows(1, low, high) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

}  // namespace

std::string Escape(std::string_view text) {
  std::string escaped;
  while (!text.empty()) {
    const size_t length = SequenceLength(text);
    const char c = text[0];
    if (length == 0)
      escaped += "\xEF\xBF\xBD";  // U+FFFD
    else if (length > 1)
      escaped += text.substr(0, length);
    else if (c == '&')
      escaped += "&amp;";
    else if (c == '<')
      escaped += "&lt;";
    else if (c == '>')
      escaped += "&gt;";
    else if (c == '"')
      escaped += "&quot;";
    else if (c == '\'')
      escaped += "&#39;";
    else if ((static_cast<unsigned char>(c) < 0x20 && c != '\n') || c == 0x7F)
      escaped += ' ';
    else
      escaped += c;
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return escaped;
}

std::string Paragraph(std::string_view text) {
  return "<p>" + Escape(text) + "</p>\n";
}

std::string Table(std::string_view caption, const std::vector<std::string>& headers,
                  const std::vector<std::vector<std::string>>& rows) {
  const auto number = [&](size_t column) { return headers[column].starts_with('>') ? " class=\"n\"" : ""; };
  const auto kind = [&](size_t column, const std::string& text) {
    return text.size() > kLongCell ? " class=\"long\"" : number(column);
  };
  std::string table = "<div class=\"scroll\" role=\"region\" tabindex=\"0\" aria-label=\"" + Escape(caption) +
                      "\"><table><caption>" + Escape(caption) + "</caption>\n<thead><tr>";
  for (size_t c = 0; c < headers.size(); ++c) {
    table += std::string("<th scope=\"col\"") + number(c) + ">" +
             Escape(headers[c].starts_with('>') ? std::string_view(headers[c]).substr(1) : headers[c]) + "</th>";
  }
  table += "</tr></thead>\n<tbody>\n";
  for (const auto& row : rows) {
    table += "<tr>";
    for (size_t c = 0; c < row.size(); ++c) {
      const char* cell = c == 0 ? "th" : "td";
      table += std::string("<") + cell + (c == 0 ? " scope=\"row\"" : "") + kind(c, row[c]) + ">" + Escape(row[c]) +
               "</" + cell + ">";
    }
    table += "</tr>\n";
  }
  return table + "</tbody></table></div>\n";
}

std::string ScriptJson(const nlohmann::json& json) {
  const std::string text = json.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  std::string safe;
  for (char c : text) {
    if (c == '<')
      safe += "\\u003c";
    else
      safe += c;
  }
  return safe;
}

std::string ScriptHash(std::string_view script) {
  constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  const std::string hex = Sha256(script);
  const auto digit = [](char c) { return static_cast<unsigned>(c <= '9' ? c - '0' : c - 'a' + 10); };
  std::string base64;
  unsigned bits = 0;
  int count = 0;
  for (char c : hex) {
    bits = bits << 4 | digit(c);
    for (count += 4; count >= 6; count -= 6) base64 += kDigits[bits >> (count - 6) & 63];
  }
  if (count > 0) base64 += kDigits[bits << (6 - count) & 63];
  base64.append((4 - base64.size() % 4) % 4, '=');
  return "'sha256-" + base64 + "'";
}

}  // namespace steadfast::report::html
