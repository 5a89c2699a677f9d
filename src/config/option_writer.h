// JSON and JSON schema of options structs, from their field lists. Private to the config module.
#pragma once
#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <type_traits>

#include "jointtuner/base/error.h"
#include "jointtuner/base/field.h"
#include "option_reader.h"

namespace jointtuner::config {

/// The member as JSON, every field spelled out in declaration order.
template <class T>
Json json_of(const T& value) {
  if constexpr (Described<const T>) {
    Json object = Json::object();
    T::fields(value, [&](const char* name, const auto& member, const char*, const auto&...) {
      object[name] = json_of(member);
    });
    return object;
  } else if constexpr (ListOf<T>::value) {
    Json list = Json::array();
    for (const auto& element : value) list.push_back(json_of(element));
    return list;
  } else if constexpr (OptionalOf<T>::value) {
    return value ? json_of(*value) : Json(nullptr);
  } else if constexpr (std::is_same_v<T, double>) {
    if (!std::isfinite(value))
      throw Error(fmt::format("a config cannot hold the number {}; expected a finite one", value));
    return value;
  } else {
    return value;
  }
}

inline void add_limit(Json& schema, const Range& range) {
  const auto bound = [](double number) {
    return number == std::floor(number) ? Json(static_cast<int64_t>(number)) : Json(number);
  };
  schema["minimum"] = bound(range.low);
  if (range.high != kUnbounded) schema["maximum"] = bound(range.high);
}

inline void add_limit(Json& schema, const Choices& choices) { schema["enum"] = choices.names; }

/// Schema of a member's type; the limit stands on the innermost type of a list or an optional.
template <class T, class... Limit>
Json schema_of(const T& value, const Limit&... limit) {
  Json schema = Json::object();
  if constexpr (Described<const T>) {
    schema["type"] = "object";
    schema["additionalProperties"] = false;
    Json& properties = schema["properties"] = Json::object();
    T::fields(value, [&](const char* name, const auto& member, const char* meaning, const auto&... inner) {
      Json& property = properties[name] = Json::object();
      property["description"] = meaning;
      property.update(schema_of(member, inner...));
      if constexpr (!Described<std::remove_reference_t<decltype(member)>>) property["default"] = json_of(member);
    });
  } else if constexpr (ListOf<T>::value) {
    schema["type"] = "array";
    schema["items"] = schema_of(typename T::value_type{}, limit...);
  } else if constexpr (OptionalOf<T>::value) {
    schema["anyOf"] = Json::array({schema_of(typename T::value_type{}, limit...), Json{{"type", "null"}}});
  } else {
    schema["type"] = std::is_same_v<T, bool>      ? "boolean"
                     : std::is_same_v<T, int64_t> ? "integer"
                     : std::is_same_v<T, double>  ? "number"
                                                  : "string";
    (add_limit(schema, limit), ...);
  }
  return schema;
}

}  // namespace jointtuner::config
