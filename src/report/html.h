// Small pieces of a page.
#pragma once
#include <string>
#include <string_view>

namespace jointtuner::report {

/// `text` with & < > " ' as entities: safe between tags and inside quoted attributes.
std::string escaped(std::string_view text);

/// `json` so that it can stand inside <script type="application/json">: "<" becomes its JSON escape.
std::string script_safe(std::string_view json);

/// data:<type>;base64,...
std::string data_uri(std::string_view type, std::string_view bytes);

}  // namespace jointtuner::report
