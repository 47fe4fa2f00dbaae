# Everything Motley builds against, found once. Versions are pinned in scripts/setup.
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(xxhash REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(tomlplusplus REQUIRED IMPORTED_TARGET tomlplusplus)
find_package(Boost REQUIRED COMPONENTS program_options)

if(MOTLEY_ENGINE)
  find_package(MPI REQUIRED COMPONENTS C)
  include(${CMAKE_CURRENT_LIST_DIR}/LibTorch.cmake)
endif()
