# cmake -DOUT=header -DVERSION=x -DLIST=file -P build_hash.cmake: writes a header with the version and a hash of the files
# named in LIST (one a line). It changes whenever code changes that makes or reads what plan files hold.
file(STRINGS ${LIST} files)
set(sums "")
foreach(f ${files})
  file(SHA1 ${f} sum)
  string(APPEND sums ${sum})
endforeach()
string(SHA1 build "${sums}")
string(SUBSTRING ${build} 0 16 build)
file(WRITE ${OUT} "#pragma once\n#include <string_view>\nnamespace skyline::plan_file {\n")
file(APPEND ${OUT} "inline constexpr std::string_view kVersion = \"${VERSION}\", kBuild = \"${build}\";\n}\n")
