# `cmake --install` gives headers, libraries, the program and find_package(Motley).
include(CMakePackageConfigHelpers)
install(EXPORT MotleyTargets NAMESPACE Motley:: DESTINATION lib/cmake/Motley)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/MotleyConfig.cmake.in ${CMAKE_BINARY_DIR}/MotleyConfig.cmake
                              INSTALL_DESTINATION lib/cmake/Motley)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/MotleyConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/MotleyConfig.cmake ${CMAKE_BINARY_DIR}/MotleyConfigVersion.cmake
              ${CMAKE_CURRENT_LIST_DIR}/Dependencies.cmake ${CMAKE_CURRENT_LIST_DIR}/LibTorch.cmake
        DESTINATION lib/cmake/Motley)
