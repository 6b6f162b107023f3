#include "engine/cli/data_flags.h"

namespace skyline::cli {

void DataFlags::add(CLI::App& command) {
  command.add_option("--preprocess", preprocess, "JSON file; default: preprocess.json beside the examples");
  command.add_option("--resize", resize, "Images: length of the shorter side; 0: as they are")
      ->check(CLI::Range(0, 1 << 16));
  command.add_option("--crop", crop, "Images: then a square of this size from the middle")
      ->check(CLI::Range(0, 1 << 16));
  command.add_option("--mean", mean, "Images: subtracted per channel, on the 0..255 scale")->expected(3);
  command.add_option("--std", std, "Images: divides per channel, on the 0..255 scale")->expected(3);
  command.add_flag("--bgr", bgr, "Images: blue first");
  command.add_option("--seed", seed, "Of the order in which examples are taken")->capture_default_str();
}

std::optional<Preprocess> DataFlags::how() const {
  if (preprocess.empty() && resize < 0 && crop < 0 && mean.empty() && std.empty() && !bgr)
    return std::nullopt;
  Preprocess p = preprocess.empty() ? Preprocess() : Preprocess::load(preprocess);
  if (resize >= 0) p.resize = resize;
  if (crop >= 0) p.crop = crop;
  if (!mean.empty()) p.mean = mean;
  if (!std.empty()) p.std = std;
  p.bgr |= bgr;
  for (double s : p.std) {
    if (s == 0) throw CLI::ValidationError("--std", "must not be 0");
  }
  return p;
}

Dataset DataFlags::open(const std::string& path, const Session& session) const {
  return Dataset::open(path, session.inputs(), session.outputs(), how());
}

std::string list(const std::vector<int64_t>& indices, size_t most) {
  std::string out;
  for (size_t i = 0; i < std::min(most, indices.size()); ++i)
    out += (i ? " " : "") + std::to_string(indices[i]);
  return indices.size() > most ? out + " ..." : out;
}

}  // namespace skyline::cli
