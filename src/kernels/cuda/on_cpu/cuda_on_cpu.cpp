// A fibre switch is a jump between stacks, which the fortified longjmp takes for a broken one.
#undef _FORTIFY_SOURCE
#include "cuda_on_cpu.h"

#include <ucontext.h>

#include <algorithm>
#include <csetjmp>
#include <exception>
#include <map>
#include <memory>
#include <numeric>
#include <queue>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

namespace cuda_on_cpu {
namespace {

constexpr size_t kStackBytes = 64 * 1024;
constexpr size_t kGuardBytes = 64;
constexpr char kPoison = '\xFF';  // NaN in every floating type
constexpr char kGuard = '\xA5';

[[noreturn]] void refuse(const std::string& text) { throw std::runtime_error("cuda_on_cpu: " + text); }

std::string text_of(Site site) { return std::string(site.file) + ":" + std::to_string(site.line); }

/// A stack with a loop on it: each resume() of a fibre at rest runs one thread of one block.
struct Fibre {
  std::unique_ptr<char[]> stack{new char[kStackBytes]};
  ucontext_t first;
  std::jmp_buf here;
  bool started = false;
};

/// One CUDA thread of the running block.
struct Thread {
  dim3 index;
  bool done = false;
  const char* waits = nullptr;  ///< what for; null: it runs, or will
  Site site{};
  uint32_t mask = 0;
  uint64_t value = 0;
  unsigned source = 0;
};

class Device {
 public:
  void run(dim3 grid, dim3 block, const std::function<void()>& body);
  void wait_for_block(Site site);
  uint64_t exchange(uint32_t mask, uint64_t value, unsigned source, Site site);
  void* shared_memory(const void* tag, size_t bytes);
  std::string place() const;

  Order order = Order::forward;
  std::mt19937_64 random;
  uint64_t launches = 0, read = 0, written = 0;
  unsigned current = 0;
  bool running = false;

 private:
  static void fibre_main();
  void make_fibres(size_t count);
  void run_block(dim3 block);
  void resume(unsigned thread);
  void pause();
  void wait(const char* what, Site site);
  void make_ready(unsigned thread);
  void refuse_if_stuck() const;
  void check_guards() const;

  const std::function<void()>* body_ = nullptr;
  std::vector<Fibre> fibres_;
  bool abandoned_ = false;  ///< an error left threads unfinished on the fibres' stacks
  std::vector<Thread> threads_;
  std::priority_queue<std::pair<uint64_t, unsigned>> ready_;
  std::map<const void*, std::vector<char>> shared_;
  unsigned at_barrier_ = 0;
  std::jmp_buf scheduler_;
  std::exception_ptr error_;
};

Device& device() {
  static Device the_device;
  return the_device;
}

void Device::fibre_main() {
  for (;;) {
    Device& self = device();
    try {
      (*self.body_)();
    } catch (...) {
      self.error_ = std::current_exception();
    }
    self.threads_[self.current].done = true;
    self.pause();
  }
}

void Device::make_fibres(size_t count) {
  fibres_ = std::vector<Fibre>(count);
  for (Fibre& fibre : fibres_) {
    getcontext(&fibre.first);
    fibre.first.uc_stack.ss_sp = fibre.stack.get();
    fibre.first.uc_stack.ss_size = kStackBytes;
    fibre.first.uc_link = nullptr;
    makecontext(&fibre.first, fibre_main, 0);
  }
}

/// Contexts only start a fibre; switches are jumps, which unlike swapcontext make no system call.
void Device::resume(unsigned thread) {
  Fibre& fibre = fibres_[thread];
  current = thread;
  threadIdx = threads_[thread].index;
  if (_setjmp(scheduler_) != 0) return;
  if (fibre.started) _longjmp(fibre.here, 1);
  fibre.started = true;
  setcontext(&fibre.first);
}

void Device::pause() {
  if (_setjmp(fibres_[current].here) == 0) _longjmp(scheduler_, 1);
}

void Device::make_ready(unsigned thread) {
  threads_[thread].waits = nullptr;
  const uint64_t last = threads_.size();
  const uint64_t priority = order == Order::forward ? last - thread : order == Order::reversed ? thread : random();
  ready_.emplace(priority, thread);
}

void Device::wait(const char* what, Site site) {
  threads_[current].waits = what;
  threads_[current].site = site;
}

void Device::wait_for_block(Site site) {
  wait("__syncthreads", site);
  if (++at_barrier_ < threads_.size()) return pause();
  for (const Thread& thread : threads_)
    if (!(thread.site == site))
      refuse("__syncthreads of one block at " + text_of(thread.site) + " and " + text_of(site));
  at_barrier_ = 0;
  for (unsigned i = 0; i < threads_.size(); ++i) make_ready(i);
  pause();
}

uint64_t Device::exchange(uint32_t mask, uint64_t value, unsigned source, Site site) {
  const unsigned lane = current % kWarpSize, start = current - lane;
  Thread& self = threads_[current];
  wait("a warp's other lanes", site);
  self.mask = mask;
  self.value = value;
  self.source = source;
  if ((mask >> lane & 1) == 0) fail("the mask leaves the calling lane out", site);
  if ((mask >> source & 1) == 0) fail("a shuffle reads a lane that the mask leaves out", site);
  bool all = true;
  for (unsigned other = 0; other < kWarpSize; ++other) {
    if ((mask >> other & 1) == 0) continue;
    if (start + other >= threads_.size()) fail("the mask names a lane that does not exist", site);
    const Thread& thread = threads_[start + other];
    all = all && thread.waits == self.waits && thread.site == site && thread.mask == mask;
  }
  if (all) {
    uint64_t values[kWarpSize] = {};
    for (unsigned other = 0; other < kWarpSize; ++other)
      if ((mask >> other & 1) != 0) values[other] = threads_[start + threads_[start + other].source % kWarpSize].value;
    for (unsigned other = 0; other < kWarpSize; ++other) {
      if ((mask >> other & 1) == 0) continue;
      threads_[start + other].value = values[other];
      make_ready(start + other);
    }
  }
  pause();
  return threads_[current].value;
}

void Device::refuse_if_stuck() const {
  for (unsigned i = 0; i < threads_.size(); ++i) {
    const Thread& thread = threads_[i];
    if (thread.waits == nullptr || thread.done) continue;
    refuse("thread " + std::to_string(i) + place() + " waits for ever for " + thread.waits + " at " +
           text_of(thread.site) + ": some threads went another way or have returned");
  }
}

void Device::check_guards() const {
  for (const auto& [tag, memory] : shared_)
    for (size_t i = 0; i < kGuardBytes; ++i)
      if (memory[i] != kGuard || memory[memory.size() - 1 - i] != kGuard)
        refuse("a write beside shared memory" + place());
}

void* Device::shared_memory(const void* tag, size_t bytes) {
  std::vector<char>& memory = shared_[tag];
  if (memory.empty()) {
    memory.assign(bytes + 2 * kGuardBytes, kPoison);
    std::fill_n(memory.begin(), kGuardBytes, kGuard);
    std::fill_n(memory.rbegin(), kGuardBytes, kGuard);
  }
  return memory.data() + kGuardBytes;
}

std::string Device::place() const {
  return " (block " + std::to_string(blockIdx.x) + "," + std::to_string(blockIdx.y) + "," + std::to_string(blockIdx.z) +
         ")";
}

void Device::run_block(dim3 block) {
  threads_.assign(size_t{block.x} * block.y * block.z, {});
  shared_.clear();
  at_barrier_ = 0;
  for (unsigned i = 0; i < threads_.size(); ++i) {
    threads_[i].index = dim3(i % block.x, i / block.x % block.y, i / block.x / block.y);
    make_ready(i);
  }
  while (!ready_.empty()) {
    const unsigned thread = ready_.top().second;
    ready_.pop();
    resume(thread);
    if (error_) std::rethrow_exception(error_);
  }
  refuse_if_stuck();
  check_guards();
}

void Device::run(dim3 grid, dim3 block, const std::function<void()>& body) {
  const uint64_t count = uint64_t{block.x} * block.y * block.z, blocks = uint64_t{grid.x} * grid.y * grid.z;
  if (count == 0 || count > 1024 || blocks == 0 || grid.x > 0x7FFFFFFF || grid.y > 65535 || grid.z > 65535)
    refuse("no GPU takes this grid or block");
  body_ = &body;
  gridDim = grid;
  blockDim = block;
  ready_ = {};
  error_ = nullptr;
  if (abandoned_ || fibres_.size() < count) make_fibres(count);
  abandoned_ = true;  // unless all blocks end well
  std::vector<uint64_t> sequence(blocks);
  std::iota(sequence.begin(), sequence.end(), uint64_t{0});
  if (order == Order::reversed) std::reverse(sequence.begin(), sequence.end());
  if (order == Order::shuffled) std::shuffle(sequence.begin(), sequence.end(), random);
  for (const uint64_t i : sequence) {
    blockIdx = dim3(static_cast<unsigned>(i % grid.x), static_cast<unsigned>(i / grid.x % grid.y),
                    static_cast<unsigned>(i / grid.x / grid.y));
    run_block(block);
  }
  abandoned_ = false;
}

}  // namespace

void set_order(Order order, uint64_t seed) {
  device().order = order;
  device().random.seed(seed);
}

void launch(dim3 grid, dim3 block, const std::function<void()>& body) {
  if (device().running) refuse("a launch inside a kernel");
  device().running = true;
  const std::unique_ptr<Device, void (*)(Device*)> end(&device(), [](Device* self) { self->running = false; });
  ++device().launches;
  device().run(grid, block, body);
}

uint64_t launches() { return device().launches; }
uint64_t bytes_read() { return device().read; }
uint64_t bytes_written() { return device().written; }
void reset_counters() { device().launches = device().read = device().written = 0; }
void count_read(uint64_t bytes) { device().read += bytes; }
void count_write(uint64_t bytes) { device().written += bytes; }

void* shared_memory(const void* tag, size_t bytes) { return device().shared_memory(tag, bytes); }
void wait_for_block(Site site) { device().wait_for_block(site); }
uint64_t exchange(uint32_t mask, uint64_t value, unsigned source_lane, Site site) {
  return device().exchange(mask, value, source_lane, site);
}
unsigned lane() { return device().current % kWarpSize; }

void fail(const char* text, Site site) {
  refuse(std::string(text) + " at " + text_of(site) + ", thread " + std::to_string(device().current) +
         device().place());
}

}  // namespace cuda_on_cpu
