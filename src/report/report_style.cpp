#include "report_page.h"

namespace jointtuner::report {

const std::string_view kReportStyle = R"css(
:root { color-scheme: light dark; --page: #fbfbfa; --card: #fff; --ink: #1d1f23; --soft: #666b74; --line: #e2e3e6;
  --image: #2166ac; --video: #b2520b; --other: #4a6d3a; }
@media (prefers-color-scheme: dark) { :root { --page: #15171a; --card: #1d2024; --ink: #e8e9eb; --soft: #9aa0aa; --line: #33373d;
  --image: #7ab3e8; --video: #f0a35e; --other: #9cc98a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 27px; line-height: 1.2; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 40px 0 12px; }
h3 { font-size: 15px; margin: 22px 0 8px; }
p { margin: 4px 0; } .soft { color: var(--soft); } code { font: 13px/1.4 ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 10px; margin: 18px 0 0; }
.figures div { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 14px; }
.figures b { display: block; font-size: 19px; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
.figures span { color: var(--soft); font-size: 13px; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 520px), 1fr)); gap: 14px; }
.chart { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 10px 12px 6px; margin: 0; }
.chart figcaption { display: flex; justify-content: space-between; gap: 12px; font-weight: 600; }
.chart output { font-weight: 400; color: var(--soft); font-variant-numeric: tabular-nums; font-size: 13px; }
.chart svg { display: block; width: 100%; height: auto; touch-action: pan-y; }
.chart text { fill: var(--soft); font-size: 12px; } .chart .grid { stroke: var(--line); } .chart .cross { stroke: var(--soft); stroke-dasharray: 3 3; }
.chart .raw { fill: none; stroke-width: 1; opacity: .35; } .chart .smooth { fill: none; stroke-width: 2; stroke-linejoin: round; }
label { color: var(--soft); display: inline-flex; align-items: center; gap: 10px; margin: 0 0 10px; }
.wide { overflow-x: auto; } .wide table { width: auto; min-width: 50%; } .wide td:first-child { white-space: nowrap; } table { border-collapse: collapse; width: 100%; background: var(--card); font-size: 14px; }
th, td { text-align: left; vertical-align: top; padding: 5px 12px; border-bottom: 1px solid var(--line); }
th { font-weight: 600; } td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td { overflow-wrap: anywhere; } .sections { columns: 2 440px; column-gap: 18px; } .sections section { break-inside: avoid; margin: 0 0 16px; }
.sections h3 { margin-top: 0; } .sections td:first-child { width: 42%; color: var(--soft); }
details { border: 1px solid var(--line); border-radius: 8px; background: var(--card); margin: 0 0 10px; padding: 0 14px; }
summary { cursor: pointer; padding: 9px 0; font-weight: 600; }
.videos { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 12px; padding: 2px 0 12px; }
.videos figure { margin: 0; } .videos video, .videos img { width: 100%; display: block; border-radius: 6px; background: #000; image-rendering: auto; }
.videos figcaption { font-size: 13px; color: var(--soft); padding-top: 4px; }
.sheet { max-width: 100%; border-radius: 6px; margin: 0 0 12px; display: block; }
)css";

}  // namespace jointtuner::report
