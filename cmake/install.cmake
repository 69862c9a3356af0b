# What `cmake --install` provides: library, headers, CMake package, pkg-config file, program.
include(CMakePackageConfigHelpers)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/nearfield)
install(
  TARGETS nearfield
  EXPORT nearfieldTargets
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET nearfield_cuda)
  install(TARGETS nearfield_cuda LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
endif()
install(DIRECTORY include/nearfield DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT nearfieldTargets NAMESPACE nearfield:: DESTINATION ${package_dir})
if(TARGET nearfield_cli)
  # The installed program finds the library of its own prefix, wherever that is moved.
  file(RELATIVE_PATH bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(nearfield_cli PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
  install(TARGETS nearfield_cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

get_target_property(type nearfield TYPE)
if(type STREQUAL "SHARED_LIBRARY")
  set(nearfield_shared ON)
else()
  set(nearfield_shared OFF)
endif()

configure_package_config_file(cmake/nearfieldConfig.cmake.in ${PROJECT_BINARY_DIR}/nearfieldConfig.cmake
                              INSTALL_DESTINATION ${package_dir})
# Before 1.0 a new minor version may break the ABI.
write_basic_package_version_file(${PROJECT_BINARY_DIR}/nearfieldConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/nearfieldConfig.cmake ${PROJECT_BINARY_DIR}/nearfieldConfigVersion.cmake
        DESTINATION ${package_dir})

# The pkg-config file finds its prefix from its own place, so that an installed tree can be moved; absolute
# CMAKE_INSTALL_LIBDIR or INCLUDEDIR (distributions use them) are taken as they are.
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR})
  set(pc_prefix ${CMAKE_INSTALL_PREFIX})
else()
  file(RELATIVE_PATH up /${pc_dir} /)
  string(REGEX REPLACE "/$" "" up "${up}")
  set(pc_prefix "\${pcfiledir}/${up}")
endif()
foreach(kind LIB INCLUDE)
  if(IS_ABSOLUTE ${CMAKE_INSTALL_${kind}DIR})
    set(pc_${kind}dir ${CMAKE_INSTALL_${kind}DIR})
  else()
    set(pc_${kind}dir "\${prefix}/${CMAKE_INSTALL_${kind}DIR}")
  endif()
endforeach()
if(nearfield_shared)
  set(pc_cflags "")
  set(pc_libs "")
  set(pc_private_libs "")
else()
  set(pc_cflags " -DNEARFIELD_STATIC")
  set(pc_libs " -pthread")
  set(pc_private_libs "-lstdc++ -lm")
endif()
configure_file(cmake/nearfield.pc.in ${PROJECT_BINARY_DIR}/nearfield.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/nearfield.pc DESTINATION ${pc_dir})
