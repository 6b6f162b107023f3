#include "engine/cli/plan.h"

#include <fmt/format.h>

#include <fstream>

#include "engine/cli/cli.h"
#include "graph/onnx/sha1.h"

namespace skyline::cli {

std::string file_sha1(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw Error(Code::io, "cannot open '" + path + "'");
  onnx::Sha1 sum;
  std::string piece(size_t{1} << 20, '\0');
  while (in.read(piece.data(), static_cast<std::streamsize>(piece.size())) || in.gcount() > 0)
    sum.add(piece.data(), static_cast<size_t>(in.gcount()));
  if (in.bad()) throw Error(Code::io, "cannot read '" + path + "'");
  return sum.hex();
}

Frontier read_plan(const std::string& plan, const std::string& model) {
  Frontier f = load_frontier(plan);
  if (f.points.size() != 1) {
    throw Error(Code::input, "'" + plan + "' holds " + std::to_string(f.points.size()) +
                                 " points, not one plan: choose with `skyline frontier select`");
  }
  const std::string sha1 = file_sha1(model);
  if (f.info.model_sha1 != sha1) {
    throw Error(Code::input, "'" + plan + "' is for another model: '" + f.info.model + "' with SHA-1 " +
                                 (f.info.model_sha1.empty() ? "unknown" : f.info.model_sha1) + ", not " +
                                 sha1);
  }
  const std::string other = machine_difference(f.info.machine, machine_facts());
  if (!other.empty())
    fmt::print(stderr, "skyline: note: the plan was measured on another machine: {}\n", printable(other));
  return f;
}

}  // namespace skyline::cli
