// What can be set about the frozen backbone.
#pragma once
#include <string>

#include "jointtuner/base/field.h"

namespace jointtuner::backbone {

struct BackboneOptions {
  std::string bundle;

  template <class Self, class Field>
  static void fields(Self& o, Field&& field) {
    field("bundle", o.bundle,
          "bundle folder written by scripts/export_backbone.sh: the frozen model with its bundle.json");
  }
};

}  // namespace jointtuner::backbone
