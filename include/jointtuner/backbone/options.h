// Which frozen model a run adapts: the `backbone` section of a run config.
#pragma once

#include <string>

#include "jointtuner/base/field.h"

namespace jointtuner::backbone {

struct BackboneOptions {
  std::string bundle;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("bundle", o.bundle, "bundle folder made by scripts/export_backbone.sh; relative to the current directory");
  }
};

}  // namespace jointtuner::backbone
