# Flags that every target of ours shares: an interface target, so that users' own targets stay untouched.
add_library(skyline_flags INTERFACE)
# Contraction is off so that a*b+c means the same on every ISA and in the reference; kernels ask for fma by name.
target_compile_options(skyline_flags INTERFACE -Wall -Wextra -Wno-unused-parameter -Wno-psabi
  -Wno-missing-field-initializers -ffp-contract=off -fno-math-errno -fno-trapping-math)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
  # GCC 12 reports false positives of these inside std::vector and std::string at -O2 and above.
  target_compile_options(skyline_flags INTERFACE -Wno-stringop-overflow -Wno-array-bounds
    -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overread -Wno-free-nonheap-object)
endif()
if(SKYLINE_WERROR)
  target_compile_options(skyline_flags INTERFACE -Werror)
endif()
if(SKYLINE_ASSERTS)
  target_compile_definitions(skyline_flags INTERFACE SKYLINE_ASSERTS=1 _GLIBCXX_ASSERTIONS=1)
endif()
# The build type of the sanitizer presets: fast enough to run every test, quick to compile, good stack traces.
set(CMAKE_C_FLAGS_SANITIZE "-O1 -g1")
set(CMAKE_CXX_FLAGS_SANITIZE "-O1 -g1")
if(SKYLINE_SANITIZE)
  target_compile_options(skyline_flags INTERFACE -fsanitize=${SKYLINE_SANITIZE} -fno-omit-frame-pointer
    -fno-sanitize-recover=all)
  target_link_options(skyline_flags INTERFACE -fsanitize=${SKYLINE_SANITIZE})
endif()
