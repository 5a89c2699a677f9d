// Ctrl-C: the first asks long loops to stop at the next safe point, the second ends the process at once (exit code
// 130).
#pragma once
namespace jointtuner {

/// From here on SIGINT and SIGTERM set a flag and print what will happen; a second one ends the process.
void install_interrupt_handler();

/// Whether a stop was asked for. Long loops look at it between steps and then put their work away.
bool interrupt_requested();

}  // namespace jointtuner
