# skyline_layer(NAME DEPENDS ... SOURCES ...): one object library per layer of the architecture. It sees its own folder,
# as "NAME/...", its public headers, and those of the layers named in DEPENDS: nothing else is on its include path.
# Include paths are views: a folder of links made at configure time, so that "graph/..." is not found from kernels/.
function(skyline_layer name)
  cmake_parse_arguments(L "" "" "DEPENDS;SOURCES" ${ARGN})
  set(view ${CMAKE_BINARY_DIR}/view/${name})
  file(MAKE_DIRECTORY ${view})
  file(CREATE_LINK ${PROJECT_SOURCE_DIR}/${name} ${view}/${name} SYMBOLIC)
  add_library(skyline_${name} OBJECT ${L_SOURCES})
  target_include_directories(skyline_${name} PUBLIC
    $<BUILD_INTERFACE:${view}> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/${name}/include>)
  target_link_libraries(skyline_${name} PUBLIC $<BUILD_INTERFACE:skyline_flags> ${L_DEPENDS})
endfunction()
