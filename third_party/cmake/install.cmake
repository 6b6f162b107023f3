# Install rules: libraries, public headers, a CMake package and pkg-config files.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

foreach(layer kernels graph quant engine)
  if(EXISTS ${PROJECT_SOURCE_DIR}/${layer}/include)
    install(DIRECTORY ${PROJECT_SOURCE_DIR}/${layer}/include/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  endif()
endforeach()
install(TARGETS skyline_core skyline_static skyline_shared EXPORT skyline_targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT skyline_targets NAMESPACE skyline:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/skyline)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/skyline-config.cmake.in ${PROJECT_BINARY_DIR}/skyline-config.cmake
  INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/skyline)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/skyline-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/skyline-config.cmake ${PROJECT_BINARY_DIR}/skyline-config-version.cmake
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/skyline)
configure_file(${CMAKE_CURRENT_LIST_DIR}/skyline.pc.in ${PROJECT_BINARY_DIR}/skyline.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/skyline.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(TARGET skyline_cli)
  install(TARGETS skyline_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
