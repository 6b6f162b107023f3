#include <doctest/doctest.h>

#include "skyline/model.h"

using namespace skyline;

TEST_CASE("nothing is not a model") {
  CHECK_THROWS_AS(Model::parse({}), Error);
}
