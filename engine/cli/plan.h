#pragma once
// Plan files, as the commands use them.
#include <string>

#include "skyline/frontier.h"

namespace skyline::cli {

// SHA-1 of a file's bytes, 40 hexadecimal digits: what ties frontiers and plans to a model. Error{io}.
std::string file_sha1(const std::string& path);

// A plan file, with its one point, that was made for this model. Error{input} if the file holds more than one
// point, or was made for another model. Says so on stderr if its figures are another machine's.
Frontier read_plan(const std::string& plan, const std::string& model);

}  // namespace skyline::cli
