// `doctor`: the program's versions, libraries and devices.
#pragma once
#include <vector>

#include "jointtuner/doctor/table.h"

namespace jointtuner::doctor {

/// The program, its compiler, LibTorch, CUDA (headers, run time, driver), cuDNN, libav, OpenCV and threads. A library
/// whose major version is not that of the headers is wrong.
std::vector<Row> version_rows();

/// The CPU, and every GPU with its capability, memory and the code that the program has for it; a GPU without code is
/// wrong.
std::vector<Row> device_rows();

/// Why no GPU takes part: what is missing and what to do. "" when there is one.
std::string why_no_gpu();

}  // namespace jointtuner::doctor
