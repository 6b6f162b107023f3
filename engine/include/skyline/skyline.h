#pragma once
// Everything. See README.md for a first program.
#include "skyline/constraint.h"
#include "skyline/dtype.h"
#include "skyline/estimate.h"
#include "skyline/frontier.h"
#include "skyline/graph.h"
#include "skyline/half.h"
#include "skyline/isa.h"
#include "skyline/model.h"
#include "skyline/quantize.h"
#include "skyline/session.h"
#include "skyline/status.h"
#include "skyline/tensor.h"
