# `cmake --install build --prefix P` gives headers, libraries, the program and find_package(Motley); with
# `--component planner` only what needs neither LibTorch nor MPI. The prefix may be moved afterwards.
include(CMakePackageConfigHelpers)
set(package_folder lib/cmake/Motley)
install(EXPORT MotleyPlannerTargets NAMESPACE Motley:: DESTINATION ${package_folder} COMPONENT planner)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/MotleyConfig.cmake.in ${CMAKE_BINARY_DIR}/MotleyConfig.cmake
                              INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/MotleyConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/MotleyConfig.cmake ${CMAKE_BINARY_DIR}/MotleyConfigVersion.cmake
              ${CMAKE_CURRENT_LIST_DIR}/PlannerDependencies.cmake
        DESTINATION ${package_folder} COMPONENT planner)
if(MOTLEY_ENGINE)
  install(EXPORT MotleyEngineTargets NAMESPACE Motley:: DESTINATION ${package_folder} COMPONENT engine)
  install(FILES ${CMAKE_CURRENT_LIST_DIR}/EngineDependencies.cmake ${CMAKE_CURRENT_LIST_DIR}/LibTorch.cmake
          DESTINATION ${package_folder} COMPONENT engine)
endif()
