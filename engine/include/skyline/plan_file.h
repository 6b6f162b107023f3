#pragma once
// Plan files: a model ready to run. What a session works out when it loads a model (the graph after all
// passes, constants, weights as kernels read them) is in the file, which is mapped and used in place.
//
//   skyline::compile_plan(model, {.model_sha1 = sha1}, "m.plan");
//   const skyline::Session session(skyline::PlanFile::open("m.plan"));
//
// A plan holds for the CPU features, cache sizes and build of Skyline that it was made with, and computes the
// same bits as a session made from the model there.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "skyline/frontier.h"
#include "skyline/model.h"
#include "skyline/session.h"

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

struct CompileOptions {
  SessionOptions session;  // those of the session that the plan stands for
  std::string model_name;  // of the ONNX file
  std::string model_sha1;  // SHA-1 of its bytes, 40 hex digits, or ""
  // Sets of inputs for whose shapes the plan is prepared. A model with open dimensions runs with others too:
  // then passes run when they are met. One whose dimensions are all fixed needs none.
  std::vector<std::vector<Value>> shapes;
  // What was chosen, and why: a frontier of one point. Absent: a point with no figures, made of `session`.
  std::optional<Frontier> choice;
};

// Writes the plan (a temporary file, then a rename). Errors as of Session; Error{io}; Error{unsupported} for
// options that leave nothing to prepare (optimize = false, stop_after_pass).
void compile_plan(const Model& model, const CompileOptions& options, const std::string& path);

// That the file begins as plan files do; false if it cannot be read.
bool is_plan_file(const std::string& path) noexcept;

// An open plan file: checked, immutable; copies share the mapping, and so do sessions made from it.
class PlanFile {
 public:
  // Everything is checked before it is returned: sizes, checksums (which read the file once), the table and
  // each number in it. Error{io}, {parse} (no plan file, cut short, changed), {invalid} (broken rules),
  // {unsupported} (another format).
  static PlanFile open(const std::string& path);

  // Why it cannot run here: CPU features, caches or build of Skyline differ; "" if it can. A session made
  // from it anyway throws Error{unsupported} with this text.
  const std::string& mismatch() const;
  const std::string& model_sha1() const;  // of the ONNX file that it was made from, or ""
  const SessionOptions& options() const;  // of the session that it stands for
  // The chosen point. Error{invalid} if that part of the file is broken.
  Frontier choice() const;
  // Of the inputs, in order, for each set of shapes that the plan is prepared for.
  const std::vector<std::vector<Dims>>& shapes() const;
  // Bytes of the file, and of the packed weights in it.
  int64_t bytes() const;
  int64_t packed_bytes() const;

  struct Content;  // engine/plan_file
  const Content& content() const { return *content_; }

 private:
  std::shared_ptr<const Content> content_;
};

}  // namespace skyline
#pragma GCC visibility pop
