// The HTML report: the page, its style and its programs are files beside this one, put together with the
// data.
#include <nlohmann/json.hpp>

#include "skyline/frontier.h"

// The assembler includes the files as they are. SKYLINE_REPORT is their folder.
#define SKYLINE_EMBED(symbol, file)                                                                 \
  __asm__(".section .rodata\n" #symbol "_begin:\n.incbin \"" SKYLINE_REPORT "/" file "\"\n" #symbol \
          "_end:\n.byte 0\n.previous\n");                                                           \
  extern "C" const char symbol##_begin[], symbol##_end[]

SKYLINE_EMBED(skyline_report_html, "report.html");
SKYLINE_EMBED(skyline_report_css, "report.css");
SKYLINE_EMBED(skyline_report_plots, "plots.js");
SKYLINE_EMBED(skyline_report_space, "space.js");
SKYLINE_EMBED(skyline_report_page, "page.js");

namespace skyline {
namespace {

using Json = nlohmann::ordered_json;

std::string_view text(const char* begin, const char* end) {
  return {begin, static_cast<size_t>(end - begin)};
}

Json write_constraint(const Constraint& c) {
  constexpr std::string_view kAxes[] = {"latency", "throughput", "accuracy", "accuracy_drop", "memory"};
  constexpr std::string_view kStatisticNames[] = {"mean", "p50", "p90", "p99"};
  return {{"text", to_string(c)},
          {"axis", kAxes[static_cast<size_t>(c.quantity.axis)]},
          {"statistic", kStatisticNames[static_cast<size_t>(c.quantity.statistic)]},
          {"at_most", c.at_most},
          {"bound", c.bound},
          {"relative", c.relative}};
}

// JSON that may stand inside a script element: nothing in it can end the element or open a comment.
std::string for_script(const std::string& json) {
  std::string out;
  out.reserve(json.size());
  for (char c : json) {
    if (c == '<') {
      out += "\\u003c";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::string report_html(const Frontier& f, const ReportOptions& options) {
  const auto knee = f.knee();
  Json head{{"title", options.title},
            {"selected", options.selected},
            {"objective", options.objective},
            {"knee", knee ? Json(f.points[*knee].id) : Json()},
            {"constraints", Json::array()}};
  for (const Constraint& c : options.constraints) head["constraints"].push_back(write_constraint(c));
  std::string data = head.dump(-1, ' ', false, Json::error_handler_t::replace);
  data.pop_back();
  data += ",\"frontier\":" + to_json(f) + "}";

  std::string out;
  std::string_view page = text(skyline_report_html_begin, skyline_report_html_end);
  const auto until = [&](std::string_view mark) {
    const size_t at = page.find(mark);
    out += page.substr(0, at);
    page.remove_prefix(std::min(page.size(), at + mark.size()));
  };
  until("@CSS@");
  out += text(skyline_report_css_begin, skyline_report_css_end);
  until("@DATA@");
  out += for_script(data);
  until("@JS@");
  out += text(skyline_report_plots_begin, skyline_report_plots_end);
  out += text(skyline_report_space_begin, skyline_report_space_end);
  out += text(skyline_report_page_begin, skyline_report_page_end);
  out += page;
  return out;
}

}  // namespace skyline
