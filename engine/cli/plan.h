#pragma once
// Plans, as the commands use them: a .plan.json is a choice for an ONNX file, a plan file is ready to run.
#include <optional>
#include <string>

#include "engine/cli/cli.h"

namespace skyline::cli {

// SHA-1 of a file's bytes, 40 hexadecimal digits: what ties frontiers and plans to a model. Error{io}.
std::string file_sha1(const std::string& path);

// A plan with its one point, that was made for this model. Error{input} if the file holds more than one
// point, or was made for another model. Says so on stderr if its figures are another machine's.
Frontier read_plan(const std::string& plan, const std::string& model);

// MODEL and --plan of a command that runs one or both.
struct SourceFlags {
  std::string model, plan;
  void add(CLI::App& command);
};

struct Opened {
  Session session;
  std::optional<Frontier> choice;  // of the plan: one point
  std::vector<Dims> shapes;        // of inputs that a plan file is prepared for; empty: of none
};
// The model, or the plan, which needs no model if it is a plan file. A plan file that does not hold here, or
// not for these flags, is refused; with the model beside it, its choice is carried out again and timed, and
// stderr says so. streams: how many are to share the threads, where nothing says how many each has.
Opened open_source(const SourceFlags& source, const SessionFlags& flags, int streams = 1);

// Inputs of a test_data_set_0 beside the model if it has one and `dims` is empty, else made up.
std::vector<Value> inputs_beside(const std::string& model, const std::vector<ValueDescription>& ports,
                                 int64_t batch, uint64_t seed, const std::map<std::string, int64_t>& dims);

// The same for what was opened, beside the model or else the plan; made up in the plan's shapes unless batch
// or dims say otherwise.
std::vector<Value> inputs_for(const Opened& opened, const SourceFlags& source, int64_t batch,
                              uint64_t seed = 1, const std::map<std::string, int64_t>& dims = {});

// A model's inputs, as a session of it would describe them.
std::vector<ValueDescription> ports_of(const Model& model);

// A point as a plan: a plan file for the shapes that the batch gives, or, if the name ends in .json, only the
// choice.
void write_plan(const Model& model, const std::string& model_path, const Frontier& f, size_t point,
                const SessionOptions& options, const std::string& path);
bool is_json_name(const std::string& path);

}  // namespace skyline::cli
