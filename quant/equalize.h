#pragma once
// Cross-layer equalization (Nagel et al. 2019): between two convolutions, channels may be scaled by anything
// above 0 if the second takes it back. One scale for a whole activation wastes levels on the channels that
// are small in it.
#include "skyline/quant.h"

namespace skyline::quant {

// On a prepared graph: pairs of convolutions (dense, grouped or depthwise) with nothing, a Relu or a Clip
// from 0 between them that nothing else reads. Channels are scaled by the largest weights (which = weights)
// or by what they were seen to reach (which = activations). With a bounded Clip only channels are scaled that
// cannot reach it whatever the input, and not beyond it. Looks at a few of the examples. Returns how many
// pairs it has changed.
int equalize(Graph& g, Equalization which, const Examples& examples, const MakeRunner& make_runner);

}  // namespace skyline::quant
