# A room is a folder that is one library target and links exactly what its row in ARCHITECTURE.md allows.
# Its headers are reached as <motley/ROOM/file.h> through a folder of its own in the build tree, so that a header of a
# room that is not linked is not found.

# motley_room(NAME [FOLDER path] SOURCES file... [ROOMS room...] [LINK target...] [PRIVATE_LINK target...])
# It is installed with the component that MOTLEY_COMPONENT names: "planner" or "engine".
function(motley_room name)
  cmake_parse_arguments(ROOM "" "FOLDER" "SOURCES;ROOMS;LINK;PRIVATE_LINK" ${ARGN})
  set(folder "${CMAKE_CURRENT_SOURCE_DIR}")
  set(include_root "${CMAKE_BINARY_DIR}/include/${name}")
  file(MAKE_DIRECTORY "${include_root}/motley")
  file(CREATE_LINK "${folder}" "${include_root}/motley/${name}" SYMBOLIC)

  set(target "motley_${name}")
  add_library(${target} STATIC ${ROOM_SOURCES})
  add_library(Motley::${name} ALIAS ${target})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${include_root}> $<INSTALL_INTERFACE:include>)
  target_compile_features(${target} PUBLIC cxx_std_20)
  foreach(room IN LISTS ROOM_ROOMS)
    target_link_libraries(${target} PUBLIC Motley::${room})
  endforeach()
  target_link_libraries(${target} PUBLIC ${ROOM_LINK} PRIVATE ${ROOM_PRIVATE_LINK} $<BUILD_INTERFACE:motley_warnings>)

  if(MOTLEY_COMPONENT STREQUAL "planner")
    set(export MotleyPlannerTargets)
  else()
    set(export MotleyEngineTargets)
  endif()
  install(TARGETS ${target} EXPORT ${export} ARCHIVE DESTINATION lib COMPONENT ${MOTLEY_COMPONENT})
  install(DIRECTORY "${folder}/" DESTINATION "include/motley/${name}" COMPONENT ${MOTLEY_COMPONENT}
          FILES_MATCHING PATTERN "*.h")
endfunction()

# motley_test(ROOM [SIDE_BY_SIDE] SOURCES file... [LINK target...]): one GoogleTest program a room, discovered case by
# case. SIDE_BY_SIDE: no case starts ranks, waits for a clock or writes a file that another uses, so that ctest may run
# several at once; a case of another room has two cores to itself.
# Tests see MOTLEY_SOURCE_DIR (read-only fixtures) and MOTLEY_SHARED_DATA (real data, may be absent).
function(motley_test name)
  cmake_parse_arguments(TEST "SIDE_BY_SIDE" "" "SOURCES;LINK" ${ARGN})
  set(target "test_${name}")
  add_executable(${target} ${TEST_SOURCES})
  target_link_libraries(${target} PRIVATE ${TEST_LINK} GTest::gtest GTest::gmock GTest::gtest_main motley_warnings)
  target_compile_definitions(${target} PRIVATE MOTLEY_SOURCE_DIR="${PROJECT_SOURCE_DIR}"
                                               MOTLEY_SHARED_DATA="${PROJECT_SOURCE_DIR}/../shared/data"
                                               MOTLEY_BUILD_DIR="${CMAKE_BINARY_DIR}")
  set(cores 2)
  if(TEST_SIDE_BY_SIDE)
    set(cores 1)
  endif()
  set(timeout 300)
  set(environment)
  if(MOTLEY_SANITIZE)
    set(timeout 1500)
  endif()
  if(MOTLEY_SANITIZE MATCHES "thread")
    # Open MPI is not instrumented: its accesses are seen, its locks are not.
    set(environment ENVIRONMENT "TSAN_OPTIONS=ignore_noninstrumented_modules=1")
  endif()
  gtest_discover_tests(${target} TEST_PREFIX "${name}." DISCOVERY_TIMEOUT 60
                       PROPERTIES TIMEOUT ${timeout} PROCESSORS ${cores} ${environment})
endfunction()

# motley_benchmark(NAME SOURCES file... [LINK target...]): a program that prints ratios; never run by ctest for timing.
function(motley_benchmark name)
  cmake_parse_arguments(BENCH "" "" "SOURCES;LINK" ${ARGN})
  add_executable(bench_${name} ${BENCH_SOURCES})
  target_link_libraries(bench_${name} PRIVATE ${BENCH_LINK} motley_warnings)
endfunction()
