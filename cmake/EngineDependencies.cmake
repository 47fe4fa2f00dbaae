# What the engine's rooms build against beside PlannerDependencies.cmake. Also read by find_package(Motley).
include(CMakeFindDependencyMacro)
enable_language(C)
find_dependency(Threads)
find_dependency(MPI COMPONENTS C)
find_dependency(Boost COMPONENTS program_options)
include(${CMAKE_CURRENT_LIST_DIR}/LibTorch.cmake)
