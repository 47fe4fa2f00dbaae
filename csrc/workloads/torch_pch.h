// The parts of LibTorch that this room's sources share: each costs more to parse than all of our own code.
#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
