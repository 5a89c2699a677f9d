// The fixed parts of report.html.
#pragma once
#include <string_view>

namespace jointtuner::report {

extern const std::string_view kReportStyle;   ///< CSS, light and dark
extern const std::string_view kReportScript;  ///< draws the curves from the JSON in #curves

}  // namespace jointtuner::report
