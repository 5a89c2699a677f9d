// How an options struct describes its own fields, once, for every reader, writer and checker of configurations.
//
// A module's tunables are plain structs in `jointtuner/<module>/options.h`, each with one static member template that
// visits the fields in the order in which they are written:
//
//   struct AdapterOptions {
//     int64_t rank = 32;
//     std::string gate_pooling = "sample";
//     template <class Self, class Field>
//     static void fields(Self& o, Field&& field) {
//       field("rank", o.rank, "rank R of lora_down [R,K] and lora_up [M,R]", Range{1, 8192});
//       field("gate_pooling", o.gate_pooling, "tokens that share one gate", Choices{"sample", "batch"});
//     }
//   };
//
// `Self` is the struct or the const struct. A visitor takes `field(name, member, meaning)` and
// `field(name, member, meaning, Range|Choices)`. A member is one of: bool, int64_t, double, std::string; std::vector of
// std::string, int64_t or double; std::optional of any of these (JSON null when empty); a nested struct with fields()
// of its own; a std::vector of such structs. The member's initializer is the option's default. Meanings say the unit
// and what special values (0, "") stand for.
//
// Rules that tie several fields of the struct together are a second static member template, which check_rules (rules.h)
// visits; the message names what was expected and what was found:
//
//   template <class Rule>
//   static void rules(const TrainOptions& o, Rule&& rule) {
//     rule(o.warmup_steps <= o.steps, "warmup_steps", "expected at most train.steps = {}, found {}", o.steps,
//          o.warmup_steps);
//   }
//
// Rules that tie several structs together live in config/validate.h.
#pragma once
#include <initializer_list>
#include <limits>
#include <string>
#include <vector>

namespace jointtuner {

/// A number with no upper bound in a Range.
inline constexpr double kUnbounded = std::numeric_limits<double>::infinity();

/// The closed interval [low, high] that a number, or every element of a list of numbers, must lie in.
struct Range {
  double low;
  double high;
};

/// The only strings allowed for a field (or for every element of a list of strings).
struct Choices {
  std::vector<std::string> names;
  Choices(std::initializer_list<std::string> allowed) : names(allowed) {}
};

/// Type of a field without a Range or Choices.
struct AnyValue {};

/// True for a struct that lists its fields as described above.
template <class T>
concept Described = requires(T& o) { T::fields(o, [](auto&&...) {}); };

}  // namespace jointtuner
