#include <doctest/doctest.h>

#include <nlohmann/json.hpp>

#include "skyline/frontier.h"
#include "tests/engine/frontier/random_frontier.h"

using namespace skyline;

namespace {

nlohmann::json data_of(const std::string& html) {
  const std::string_view open = "<script type=\"application/json\" id=\"data\">";
  const size_t begin = html.find(open) + open.size();
  return nlohmann::json::parse(html.substr(begin, html.find("</script>", begin) - begin));
}

}  // namespace

TEST_CASE("the report is whole, refers to nothing outside, and holds the frontier as it is") {
  const Frontier f = test::random_frontier(2, 12);
  ReportOptions o;
  o.selected = "p3";
  o.constraints = parse_constraints(std::vector<std::string>{"latency.p99<=5ms", "accuracy.drop<=1%"});
  o.objective = "maximize throughput";
  const std::string html = report_html(f, o);
  CHECK(html.starts_with("<!doctype html>"));
  CHECK(html.ends_with("</html>\n"));
  for (const char* outside : {"http:", "https:", "src=", "@import", "url(", "@CSS@", "@JS@", "@DATA@"}) {
    CAPTURE(outside);
    const size_t at = html.find(outside);
    // The name of SVG's namespace is no address that anything is fetched from.
    CHECK((at == std::string::npos || html.substr(at).starts_with("http://www.w3.org/2000/svg")));
  }
  const nlohmann::json data = data_of(html);
  CHECK(frontier_from_json(data["frontier"].dump()) == f);
  CHECK(data["selected"] == "p3");
  CHECK(data["constraints"][0]["bound"] == 5e-3);
  CHECK(data["constraints"][1]["relative"] == true);
  CHECK(data["knee"] == f.points[*f.knee()].id);
}

TEST_CASE("names from a model cannot leave the data they stand in") {
  Frontier f = test::random_frontier(3, 2);
  f.info.model = "</script><script>alert(1)</script><!--";
  f.points[0].choices[0].node = "</SCRIPT \xff";
  const std::string html = report_html(f);
  CHECK(html.find("alert(1)</script>") == std::string::npos);
  CHECK(data_of(html)["frontier"]["model"]["file"] == f.info.model);
  CHECK(data_of(report_html(Frontier{}))["knee"].is_null());
}
