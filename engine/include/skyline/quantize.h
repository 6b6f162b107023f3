#pragma once
// The quantizer, run by sessions.
#include "skyline/quant.h"
#include "skyline/session.h"

#pragma GCC visibility push(default)  // part of the shared library's interface
namespace skyline {

// Runs a graph in a session of these options. While shapes stay the same, results are written to the same
// memory again and again.
quant::MakeRunner session_runner(const SessionOptions& options = {});

}  // namespace skyline
#pragma GCC visibility pop
