// fit() on OpenCV matrices, for this module's sources.
#pragma once
#include <opencv2/core.hpp>

#include "jointtuner/media/fit.h"

namespace jointtuner::media {

/// Fills all of target, whose size is the size wanted, from source; both are CV_8UC3.
void fit_mat(const cv::Mat& source, cv::Mat target, Fit fit);

}  // namespace jointtuner::media
